//! Against a server that says whatever the test wants said.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod beginning;
mod cut;
mod files;
mod handles;
mod replies;
mod script;
