//! The gate: the jump box's program. It ends the agent's SSH connection and lets nothing through to the vault but the
//! objects that the run has declared, each checked against its SHA-256 before S3 sees its end.
//!
//! | module | what it is |
//! |---|---|
//! | [`admission`] | what may cross and in which order: pure decisions |
//! | `intake` | a body on its way, hashed, its last chunk held back until it is right |
//! | `http` | the four kinds of request and their answers |
//! | `protocol` | HTTP/1.1 and HTTP/2 on an SSH channel |
//! | `server`, `connections` | the SSH server and its limits |
//! | [`storage`] | the one thing it may do with S3 |
//! | `receipt` | what it writes itself |
//! | [`machine`] | which instance it runs on |
//! | [`limits`] | every cap and timeout |
//! | [`build`], [`Application`] | all of it together |

pub mod admission;
mod application;
mod connections;
mod http;
mod intake;
pub mod limits;
pub mod machine;
mod protocol;
mod receipt;
mod server;
pub mod storage;

pub use application::{AnnounceError, Application, BuildError, Ending, build, build_with};
pub use intake::{Fault, LentBody};
