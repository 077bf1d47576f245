//! The gate: the jump box's program. It ends the agent's SSH connection and lets nothing through to the vault but the
//! objects that the run has declared, each checked against its SHA-256 before S3 sees its end.
//!
//! | module | what it is |
//! |---|---|
//! | [`admission`] | what may cross and in which order: pure decisions |
//! | [`shape`], [`key_shape`], [`ciphertext`] | whether an object is one of a repository's, told while it streams |
//! | `intake` | a body on its way, hashed and inspected, its last chunk held back until it is right |
//! | [`route`], `http`, `rejection` | the four kinds of request and their answers |
//! | `protocol` | HTTP/1.1 and HTTP/2 on an SSH channel |
//! | `server`, `connections` | the SSH server and its limits |
//! | [`storage`] | the one thing it may do with S3 |
//! | `receipt`, `tally` | what it writes itself |
//! | [`machine`] | which instance it runs on |
//! | [`limits`] | every cap and timeout |
//! | [`build`], [`Application`] | all of it together |

pub mod admission;
mod application;
pub mod ciphertext;
mod connections;
mod http;
mod intake;
pub mod key_shape;
pub mod limits;
pub mod machine;
mod protocol;
mod receipt;
mod rejection;
pub mod route;
mod server;
pub mod shape;
pub mod storage;
mod tally;

pub use application::{AnnounceError, Application, BuildError, Ending, build, build_with};
pub use intake::{Fault, LentBody};
