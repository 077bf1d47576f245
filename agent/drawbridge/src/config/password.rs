use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::secret::Secret;

/// A password longer than this, in bytes, is some other file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Why there is no password. None of the messages repeats what the file holds.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// There is no such file.
    #[error(
        "the password file {} does not exist: `drawbridge init` makes one for a new installation; for an existing \
         repository put its password there", .0.display()
    )]
    Missing(PathBuf),
    /// It can't be read.
    #[error("the password file {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a regular file.
    #[error("the password file {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Others may read or change it.
    #[error("the password file {} is open to other users (mode {mode:04o}): run `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it.
    #[error("the password file {} is empty: the repository's password belongs there", .0.display())]
    Empty(PathBuf),
    /// Too much in it.
    #[error("the password file {} is longer than {MAX_PASSWORD_BYTES} bytes: that is no password", .0.display())]
    TooLong(PathBuf),
    /// Not one line of UTF-8.
    #[error("the password file {} must hold one line of UTF-8 text", .0.display())]
    NotALine(PathBuf),
}

/// Reads one line from `path`, which nobody else may read.
///
/// # Errors
/// When the file is missing, unreadable, empty, not text, or open to others.
pub fn read(path: &Path) -> Result<Secret, PasswordError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => PasswordError::Missing(path.to_owned()),
        _ => PasswordError::Read { path: path.to_owned(), source },
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        // Before opening: opening a FIFO would wait for ever.
        return Err(PasswordError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PasswordError::Open { path: path.to_owned(), mode });
    }
    if metadata.size() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_PASSWORD_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| PasswordError::NotALine(path.to_owned()))?;
    let line = text.trim_end_matches(['\n', '\r']);
    if line.is_empty() {
        return Err(PasswordError::Empty(path.to_owned()));
    }
    if line.contains(['\n', '\0']) {
        return Err(PasswordError::NotALine(path.to_owned()));
    }
    Ok(Secret::from(line.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn with(content: &[u8], mode: u32) -> Result<Secret, PasswordError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(&path)
    }

    #[test]
    fn the_trailing_newline_is_not_part_of_the_password() {
        assert_eq!(with(b"open sesame\n", 0o600).unwrap().reveal(), "open sesame");
        assert_eq!(with(b"open sesame", 0o400).unwrap().reveal(), "open sesame");
    }

    #[test]
    fn a_password_file_that_others_may_touch_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let error = with(b"x\n", mode).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn what_is_not_one_line_of_text_is_refused() {
        assert!(matches!(with(b"", 0o600), Err(PasswordError::Empty(_))));
        assert!(matches!(with(b"\n\n", 0o600), Err(PasswordError::Empty(_))));
        assert!(matches!(with(b"a\nb\n", 0o600), Err(PasswordError::NotALine(_))));
        assert!(matches!(with(b"\xff\xfe", 0o600), Err(PasswordError::NotALine(_))));
        let limit = usize::try_from(MAX_PASSWORD_BYTES).unwrap();
        assert!(with(&vec![b'x'; limit], 0o600).is_ok());
        assert!(matches!(with(&vec![b'x'; limit + 1], 0o600), Err(PasswordError::TooLong(_))));
        assert!(matches!(read(Path::new("/dev/null")), Err(PasswordError::NotAFile(_))));
        assert!(matches!(read(Path::new("/nonexistent/password")), Err(PasswordError::Missing(_))));
    }
}
