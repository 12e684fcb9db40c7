//! bootes's own servers, with an engine and a journal behind them, in a process of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bootes::boot::http::{self, HttpContext, HttpOptions, ImageFile, ImageFiles};
use bootes::boot::script::BootSettings;
use bootes::boot::tftp::{self, Roots, ServerOptions};
use bootes::engine::Engine;
use bootes::journal::Journal;
use bootes::model::{Digest, Schema};
use bootes::plan::{Graph, Policy};
use bootes::port::{StateReader, fact_channel};
use tokio_util::sync::CancellationToken;

struct NoImages;

impl ImageFiles for NoImages {
    fn path(&self, _: ImageFile) -> Option<PathBuf> {
        None
    }
}

/// Serves until it is ended.
pub fn serve(what: &str, folder: &Path, address: SocketAddr) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let journal_folder = tempfile::tempdir().unwrap();
    let _inside = runtime.enter();
    let declared = [
        bootes::boot::mutations::mutations(),
        bootes::power::mutations::mutations(),
        bootes::sync::mutations::mutations(),
    ];
    let graph = Graph::build(declared.concat(), &Schema::default()).unwrap();
    let journal = Journal::open(journal_folder.path()).unwrap();
    let engine = Engine::replay(journal, graph, Policy::default()).unwrap();
    let (facts, receiver) = fact_channel();
    let (state, shutdown) = (StateReader(engine.snapshots()), CancellationToken::new());
    // As in the appliance: the engine waits for the disk, so it has a thread of its own.
    let engine_runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let engine_shutdown = shutdown.clone();
    std::thread::spawn(move || engine_runtime.block_on(engine.run(receiver, engine_shutdown)));
    match what {
        "tftp" => {
            let roots = Arc::new(Roots::new([folder.to_owned()]).unwrap());
            let bound = tftp::bind(address, ServerOptions::default()).unwrap();
            let report = tftp::report::reporter(facts, state);
            runtime.block_on(bound.run(roots, report, shutdown));
        }
        "http" => {
            let settings = BootSettings {
                http: address,
                agents: Vec::new(),
                ca: Digest::of(b""),
                console: None,
                extra_arguments: Vec::new(),
                kernel: folder.join("kernel"),
                initramfs: folder.join("initramfs"),
                loaders: folder.join("loaders"),
                files: None,
                templates: None,
            };
            let bound = http::bind(HttpOptions::new(address, Arc::new(settings))).unwrap();
            let context = HttpContext { facts, state, images: Arc::new(NoImages) };
            runtime.block_on(bound.run(context, shutdown));
        }
        other => panic!("{other} is not served"),
    }
}
