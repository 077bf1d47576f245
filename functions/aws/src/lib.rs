//! The AWS calls of the functions, behind one small trait a capability. The only crate of theirs that names `aws_sdk_*`.
//!
//! Two rules hold throughout: a list is complete or an error (every listing goes through all of its pages), and a
//! look-up that failed is an error, never "nothing there".

// Each function handles one event at a time on one task; nobody needs these futures to be `Send`.
#![allow(async_fn_in_trait)]

pub mod announcement;
mod artifacts;
mod aws_error;
mod clients;
mod convert;
pub mod demolition;
mod error;
mod executions;
mod ingress;
mod inspection;
mod instances;
mod looks;
mod parameters;
pub mod removal;
mod retry;
mod runtime;
mod settings;
mod task_tokens;
mod vault;

pub use artifacts::Artifacts;
pub use aws_error::{AwsError, Kind};
pub use clients::Aws;
pub use error::{AGENT_FAILED, ERROR_NAMES, FunctionError};
pub use executions::{Executions, Listed};
pub use ingress::{Ingress, Opening};
pub use inspection::Inspection;
pub use instances::{Instances, Launch};
pub use looks::Looks;
pub use parameters::Parameters;
pub use runtime::{init_logging, parse, serve, serve_until};
pub use settings::{
    DestroySettings, Environment, ProvisionSettings, ReadySettings, ReportSettings, SessionSettings, SettingsError,
    StartSettings, VerifySettings,
};
pub use task_tokens::{Delivery, TaskTokens};
pub use vault::Vault;
