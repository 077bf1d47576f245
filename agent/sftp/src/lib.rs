//! An SFTP version 3 client for gathering: it only reads
//! (<https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>).
//!
//! Why one of our own: a backup carries files of any name, so names are bytes here and never `String`; over a distant link
//! speed is how much is asked before the first answer comes, so reads, listings and whole files are pipelined; and the host
//! may have been taken over, so what it sends is bounded and checked, and what it promises is not believed.
//!
//! | limit | value | why |
//! |---|---|---|
//! | a packet | 256 KiB | OpenSSH's own |
//! | requests under way | 4,096 | an answer each is what may have to be kept |
//! | file bytes asked for and not taken | [`Settings::bytes_ahead`], and one read of 32 KiB for each file beyond it | memory; no file waits for another |
//! | parts of listings asked for and not taken | 64, and one for each listing beyond it | memory |
//! | open files, open folders | [`Sftp::max_open_files`], 64 | the server's handles |
//! | silence | [`Settings::silence`] | a dead host ends the session |
//!
//! A host that sends a byte now and then is not silent: bounding a whole source in time is the caller's.

mod error;
mod file;
mod inbox;
mod listing;
mod session;
mod shared;
mod wire;

pub use error::SftpError;
pub use file::{File, Reading};
pub use listing::Listing;
pub use session::{MAX_PATH_BYTES, Settings, Sftp};
pub use wire::{Attributes, Entry};

/// For `fuzz/`.
#[doc(hidden)]
pub mod fuzzing {
    /// Decodes bytes in every way in which a host's bytes are.
    pub fn decode(bytes: &[u8]) {
        crate::wire::decode_everything(bytes);
    }
}
