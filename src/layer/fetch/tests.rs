//! Tests of the fetch against HTTP servers on loopback: one of hyper with faults on demand, and nginx.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response as HttpResponse};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::layer::manifest::{CHUNK_SIZE_MIN_BYTES, FORMAT, Filesystem, HealthCheck};

const SIZE: usize = CHUNK_SIZE_MIN_BYTES as usize * 5 + 1234;

/// What a server does wrong, and for how many blob requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Missing,
    Busy,
    FlipByte,
    FlipManifest,
    CutBody,
    ShortFile,
    IgnoreRange,
    Silent,
}

struct Image {
    digest: Digest,
    manifest: Vec<u8>,
    blob: Vec<u8>,
}

fn image() -> Arc<Image> {
    let blob: Vec<u8> = (0..SIZE).map(|at| (at * 7 + at / 256) as u8).collect();
    let manifest = Manifest {
        chunk_size_bytes: CHUNK_SIZE_MIN_BYTES,
        chunks: blob.chunks(CHUNK_SIZE_MIN_BYTES as usize).map(Digest::of).collect(),
        entrypoint: vec!["/bin/sh".into()],
        env: BTreeMap::new(),
        filesystem: Filesystem::Squashfs,
        format: FORMAT,
        health: HealthCheck::Alive,
        name: "web".parse().unwrap(),
        size_bytes: SIZE as u64,
    };
    let manifest = manifest.encode().unwrap();
    Arc::new(Image { digest: Digest::of(&manifest), manifest, blob })
}

type Answer = HttpResponse<BoxBody<Bytes, std::io::Error>>;

fn whole(status: u16, bytes: Vec<u8>) -> Answer {
    let body = Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed();
    HttpResponse::builder().status(status).body(body).unwrap()
}

/// A server whose first `times` answers to faulty requests are faulty; counts blob requests.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicU32>,
}

async fn serve(image: &Arc<Image>, fault: Fault, times: u32) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, faults) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let server = Server { address, asked: Arc::clone(&asked) };
    let image = Arc::clone(image);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (image, asked, faults) = (Arc::clone(&image), Arc::clone(&asked), Arc::clone(&faults));
            let service = service_fn(move |request: HttpRequest<Incoming>| {
                let (image, asked, faults) = (Arc::clone(&image), Arc::clone(&asked), Arc::clone(&faults));
                async move {
                    let route: Option<ImageRoute> = request.uri().path().parse().ok();
                    let faulty = |wanted: Fault| fault == wanted && faults.fetch_add(1, Ordering::Relaxed) < times;
                    if faulty(Fault::Missing) {
                        return Ok::<_, Infallible>(whole(404, Vec::new()));
                    }
                    if faulty(Fault::Busy) {
                        let mut answer = whole(503, Vec::new());
                        answer.headers_mut().insert(RETRY_AFTER, "0".parse().unwrap());
                        return Ok(answer);
                    }
                    match route {
                        Some(ImageRoute::Manifest(digest)) if digest == image.digest => {
                            let mut bytes = image.manifest.clone();
                            if faulty(Fault::FlipManifest) {
                                bytes[10] ^= 1;
                            }
                            Ok(whole(200, bytes))
                        }
                        Some(ImageRoute::Blob(digest)) if digest == image.digest => {
                            asked.fetch_add(1, Ordering::Relaxed);
                            if faulty(Fault::Silent) {
                                std::future::pending::<()>().await;
                            }
                            let range = request.headers().get("range").unwrap().to_str().unwrap();
                            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                            let total = if faulty(Fault::ShortFile) { SIZE - 2000 } else { SIZE };
                            if faulty(Fault::IgnoreRange) {
                                return Ok(whole(200, image.blob.clone()));
                            }
                            let mut bytes = image.blob[first..=last.min(total - 1)].to_vec();
                            let length = bytes.len();
                            if faulty(Fault::FlipByte) {
                                bytes[100] ^= 1;
                            }
                            let mut answer = whole(206, bytes.clone());
                            if faulty(Fault::CutBody) {
                                let half = Bytes::from(bytes).slice(..length / 2);
                                let broken = std::io::Error::other("cut");
                                let frames = [Ok(Frame::data(half)), Err(broken)];
                                *answer.body_mut() = BodyExt::boxed(Frames(frames.into_iter()));
                                answer.headers_mut().insert("content-length", length.into());
                            }
                            let range = format!("bytes {first}-{}/{total}", last.min(total - 1));
                            answer.headers_mut().insert(CONTENT_RANGE, range.parse().unwrap());
                            Ok(answer)
                        }
                        _ => Ok(whole(404, Vec::new())),
                    }
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    server
}

/// An iterator of frames as a body.
struct Frames<I>(I);

impl<I: Iterator<Item = Result<Frame<Bytes>, std::io::Error>> + Unpin> hyper::body::Body for Frames<I> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn request(image: &Image, sources: &[SocketAddr], dir: &Path) -> Request {
    let pace = Pace { failures_max: 6, backoff_min_ms: 1, backoff_max_ms: 5, jitter_seed: 1 };
    let policy = Policy { pace, ..Policy::default() };
    Request { image: image.digest, sources: sources.to_vec(), destination: dir.join("blob"), policy }
}

async fn fetched_whole(image: &Arc<Image>, sources: &[SocketAddr]) -> Fetched {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let fetched = fetch(request(image, sources, dir.path()), |progress| seen.push(progress)).await.unwrap();
    assert_eq!(std::fs::read(&fetched.blob).unwrap(), image.blob);
    assert_eq!(seen.len(), fetched.manifest.chunks.len() + 1);
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
    assert_eq!(seen.last().unwrap().done_bytes, SIZE as u64);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no part file is left");
    fetched
}

async fn fault_of(image: &Arc<Image>, sources: &[SocketAddr]) -> FetchError {
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(request(image, sources, dir.path()), |_| ()).await.unwrap_err();
    assert!(!dir.path().join("blob").exists(), "nothing unverified is published");
    error
}

#[tokio::test]
async fn an_image_is_fetched_whole_from_a_good_source() {
    let image = image();
    let good = serve(&image, Fault::None, 0).await;
    let fetched = fetched_whole(&image, &[good.address]).await;
    assert_eq!(fetched.fetched_bytes, SIZE as u64);
    assert_eq!(good.asked.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn every_passing_fault_is_overcome_with_one_source() {
    let image = image();
    for fault in
        [Fault::Busy, Fault::FlipByte, Fault::FlipManifest, Fault::CutBody, Fault::ShortFile, Fault::IgnoreRange]
    {
        let server = serve(&image, fault, 1).await;
        fetched_whole(&image, &[server.address]).await;
    }
}

#[tokio::test]
async fn every_lasting_fault_has_its_own_error_and_the_next_source_helps() {
    let image = image();
    let good = serve(&image, Fault::None, 0).await;
    let check = |fault: Fault, error: &FetchError| match fault {
        Fault::Missing => matches!(error, FetchError::NotFound { .. }),
        Fault::Busy => matches!(error, FetchError::Busy { retry_after_ms: 0, .. }),
        Fault::FlipByte => matches!(error, FetchError::ChunkAltered { hashes, .. } if hashes.expected != hashes.got),
        Fault::FlipManifest => matches!(error, FetchError::ManifestAltered { .. }),
        Fault::CutBody | Fault::ShortFile => matches!(error, FetchError::Truncated { .. } | FetchError::Cut { .. }),
        Fault::IgnoreRange => matches!(error, FetchError::Status { status: 200, .. }),
        Fault::None | Fault::Silent => false,
    };
    let faults = [
        Fault::Missing,
        Fault::Busy,
        Fault::FlipByte,
        Fault::FlipManifest,
        Fault::CutBody,
        Fault::ShortFile,
        Fault::IgnoreRange,
    ];
    for fault in faults {
        let bad = serve(&image, fault, u32::MAX).await;
        let error = fault_of(&image, &[bad.address]).await;
        assert!(check(fault, &error), "{error:?}");
        fetched_whole(&image, &[bad.address, good.address]).await;
    }
}

#[tokio::test]
async fn refused_silent_and_missing_sources_are_told_apart() {
    let image = image();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    assert!(matches!(fault_of(&image, &[closed]).await, FetchError::Refused { peer, .. } if peer == closed));
    assert!(matches!(fault_of(&image, &[]).await, FetchError::NoSource { .. }));

    let silent = serve(&image, Fault::Silent, u32::MAX).await;
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(&image, &[silent.address], dir.path());
    request.policy.stall_timeout = Duration::from_millis(50);
    let error = fetch(request, |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { wait: Wait::Answer, .. }), "{error:?}");
}

#[tokio::test]
async fn a_part_file_is_taken_up_and_only_what_is_wrong_is_fetched_again() {
    let image = image();
    let good = serve(&image, Fault::None, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let mut half = image.blob.clone();
    half[CHUNK_SIZE_MIN_BYTES as usize + 5] ^= 1;
    half.truncate(CHUNK_SIZE_MIN_BYTES as usize * 3);
    std::fs::write(dir.path().join("blob.part"), half).unwrap();
    let fetched = fetch(request(&image, &[good.address], dir.path()), |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&fetched.blob).unwrap(), image.blob);
    assert_eq!(good.asked.load(Ordering::Relaxed), 4);
    // And a destination that is there is checked, not believed.
    let again = fetch(request(&image, &[good.address], dir.path()), |_| ()).await.unwrap();
    assert_eq!(again.fetched_bytes, 0);
    let file = std::fs::OpenOptions::new().write(true).open(&fetched.blob).unwrap();
    file.write_all_at(b"!", 7).unwrap();
    let repaired = fetch(request(&image, &[good.address], dir.path()), |_| ()).await.unwrap();
    assert_eq!(repaired.fetched_bytes, u64::from(CHUNK_SIZE_MIN_BYTES));
    assert_eq!(std::fs::read(&fetched.blob).unwrap(), image.blob);
}

#[tokio::test]
async fn an_image_that_does_not_fit_is_refused_before_it_is_fetched() {
    use nix::mount::{MsFlags, mount, umount};
    let image = image();
    let good = serve(&image, Fault::None, 0).await;
    let dir = tempfile::tempdir().unwrap();
    mount(Some("small"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=128k")).unwrap();
    let error = fetch(request(&image, &[good.address], dir.path()), |_| ()).await.unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { needed_bytes, .. } if needed_bytes == SIZE as u64), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(good.asked.load(Ordering::Relaxed), 0);
    umount(dir.path()).unwrap();
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that the workers end as well.
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn an_image_is_fetched_from_nginx() {
    let image = image();
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let folder = dir.path().join("images").join(image.digest.hex());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest"), &image.manifest).unwrap();
    std::fs::write(folder.join("blob"), &image.blob).unwrap();
    let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let root = dir.path().display();
    let configuration = format!(
        "daemon off; pid {root}/pid; error_log stderr; events {{}} http {{ access_log off; keepalive_requests 2; \
         client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; \
         uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5; server {{ listen {address}; root {root}; }} }}"
    );
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let nginx = Command::new("/usr/sbin/nginx").arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
    let _nginx = Nginx(nginx);
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fetched_whole(&image, &[address]).await;
}
