//! `drawbridge check`: tries everything that a run needs, and says for each thing that it is well or how to mend it.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use crate::cloud::Cloud;
use crate::config::{Config, Place};
use crate::exit::Exit;
use crate::gather::{GatherError, in_one_line, probe};
use crate::state_file;
use crate::ui::Ui;

/// Why something couldn't even be tried.
#[derive(Debug, Error)]
pub enum CheckError {
    /// Trying a source broke off.
    #[error(transparent)]
    Gather(#[from] GatherError),
}

/// Tries the state folder, the password, every source and the stack.
///
/// # Errors
/// When something couldn't even be tried. What was tried and failed is said, and ends with [`Exit::Failed`].
pub async fn check(config: &Config, ui: &Ui) -> Result<Exit, CheckError> {
    let mut failed = 0;
    let mut tell = |what: String, fixes: Vec<String>| {
        let line = Line { what, ok: fixes.is_empty(), fixes };
        failed += u32::from(!line.ok);
        ui.result("check", &line, &line);
    };
    tell(format!("configuration {}", config.path.display()), Vec::new());
    tell(format!("password {}", config.password_file.display()), fix(config.read_password()));
    tell(format!("state folder {}", config.state_dir.display()), check_state_dir(&config.state_dir));
    for source in &config.sources {
        let place = match &source.place {
            Place::Local => "on this machine".to_owned(),
            Place::Ssh(ssh) => format!("on {} port {}", ssh.host, ssh.port),
        };
        tell(format!("source {} {place}", source.name), probe(config, source).await?);
    }
    let cloud = Cloud::connect(&config.stack).await;
    tell(format!("stack function {} in {}", config.stack.session, config.stack.region), fix(cloud.probe().await));
    let summary = Summary { failed };
    ui.result("checked", &summary, &summary);
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// The error of `tried`, in words that say what to do.
fn fix<V, E: std::error::Error + 'static>(tried: Result<V, E>) -> Vec<String> {
    tried.err().map(|error| in_one_line(&error)).into_iter().collect()
}

fn check_state_dir(state_dir: &Path) -> Vec<String> {
    if let Err(error) = state_file::prepare(state_dir) {
        return vec![in_one_line(&error)];
    }
    let written = write_something(state_dir);
    written
        .err()
        .map(|error| format!("it can't be written: {error}; its owner must be the user that runs drawbridge"))
        .into_iter()
        .collect()
}

/// Writes a file, and takes it away again.
fn write_something(dir: &Path) -> io::Result<()> {
    const NAME: &str = "check.json";
    state_file::write_json(dir, NAME, &())?;
    std::fs::remove_file(dir.join(NAME))
}

#[derive(Serialize)]
struct Line {
    what: String,
    ok: bool,
    fixes: Vec<String>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ok {
            return write!(f, "ok    {}", self.what);
        }
        write!(f, "FAIL  {}", self.what)?;
        self.fixes.iter().try_for_each(|fix| write!(f, "\n      {fix}"))
    }
}

#[derive(Serialize)]
struct Summary {
    failed: u32,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failed {
            0 => f.write_str("Everything is well. Next: `drawbridge run`"),
            1 => f.write_str("One thing to mend, named above; then `drawbridge check` again"),
            count => write!(f, "{count} things to mend, named above; then `drawbridge check` again"),
        }
    }
}
