//! The unix socket: the same API for root of this machine, without a token.
//!
//! Invariants: the file is for its owner alone (mode 0600) from the moment at which it has its name, and whoever connects
//! is asked for by the kernel's word (SO_PEERCRED, unix(7)): root, or the user that the appliance runs as. No web page
//! can reach it.
//! Absent on purpose: groups; whoever is not root takes a token.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::ApiError;

/// The socket, bound. Its file goes with it.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that is left behind is replaced by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds it. A file that an earlier appliance left behind is replaced; one on which somebody answers is not.
pub(super) async fn bind(path: &Path) -> Result<Socket, ApiError> {
    let failed = |source| ApiError::Socket { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(failed(io::ErrorKind::AlreadyExists.into())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(failed(io::ErrorKind::AddrInUse.into())),
        _ => {}
    }
    // Under another name until only its owner may use it.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)?;
    Ok(Socket { listener, path: path.to_owned() })
}

/// Whether this user may do everything.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_file_is_for_its_owner_alone_and_goes_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/api.sock");
        let socket = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_was_left_behind_is_replaced_and_what_is_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = bind(&path).await.unwrap();
        assert!(matches!(bind(&path).await, Err(ApiError::Socket { .. })));
        drop(socket);
        fs::write(&path, "a file of somebody's").unwrap();
        assert!(matches!(bind(&path).await, Err(ApiError::Socket { .. })));
        assert!(path.exists());
    }

    #[test]
    fn root_and_the_appliances_own_user_are_trusted_and_nobody_else() {
        let own = nix::unistd::geteuid().as_raw();
        assert!(is_trusted(0) && is_trusted(own));
        assert!(!is_trusted(own + 1));
    }
}
