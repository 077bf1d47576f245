//! One module a command. Each takes what it needs, says what it has to say through [`crate::ui::Ui`], and returns how it
//! ended or its error, which `main` prints with its causes.

pub mod authorize;
pub mod check;
pub mod diff;
pub mod drill;
pub mod find;
pub mod gather;
pub mod init;
pub mod key;
pub mod ls;
pub mod restore;
pub mod run;
pub mod snapshots;
pub mod status;
pub mod trust;
