//! What the program says by its exit code.

/// How a command ended. The numbers are part of the interface: timers and monitoring read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; for `run`, the backup is verified at rest and every source was complete.
    Done,
    /// 1: failed, or verified at rest with a source that is older than its `max_age` allows. What went wrong has been said.
    Failed,
    /// 3: verified at rest, but some source was incomplete or failed.
    Incomplete,
    /// 75: another run is open, or it is too soon for the next one, or there were too many in a day. The number is EX_TEMPFAIL of sysexits.h: try again later.
    Later,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Incomplete => 3,
            Self::Later => 75,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
