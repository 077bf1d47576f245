use std::fmt;

/// What went wrong, where, and what to do about it; the cause below it, if there is one.
#[derive(Debug)]
pub struct Problem {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// A problem that speaks for itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// A problem with a cause.
    pub fn because(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Turns any error into a [`Problem`] that says what was being done.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Problem::because(doing(), source))
    }
}
