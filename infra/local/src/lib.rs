//! The whole system on one machine: an emulated AWS with IAM enforced, `infra/template.yaml` deployed into it, the
//! functions as built, and a stand-in for EC2's machines that runs the real user data.
//!
//! `cargo local` and the tests in `tests/` use this crate; nothing that is deployed knows of it.

mod agent_config;
mod aws;
mod error;
mod owner;
mod package;
mod process;
mod python;
mod sshd;
mod stack;
mod workspace;

pub mod commands;
pub mod compare;
pub mod demo;
pub mod lint;
pub mod restore;
pub mod teardown;
pub mod timeline;

pub use agent_config::{AgentFiles, Source};
pub use aws::{Clients, Leftovers};
pub use error::{Problem, Result};
pub use owner::Owner;
pub use package::build;
pub use process::Process;
pub use python::{Requirements, interpreter};
pub use sshd::{Sshd, free_port};
pub use stack::{Credentials, Functions, Interpreter, LocalStack, StackDescription, UpOptions};
pub use workspace::Workspace;
