//! What the functions decide, without AWS and without I/O: values in, a plan out, the clock passed in.
//!
//! Each module answers one question and is tested by asking it. What it takes to carry a plan out is `drawbridge-aws`'s
//! business.

pub mod admission;
pub mod box_config;
pub mod destruction;
pub mod execution;
pub mod generation;
pub mod hash;
pub mod key;
pub mod launch;
pub mod notice;
pub mod parameters;
pub mod phase;
pub mod readiness;
pub mod reason;
pub mod retention;
pub mod slot;
pub mod tags;
pub mod user_data;
pub mod usual;
pub mod verification;
pub mod window;
