//! `drawbridge check`: tries everything that a run needs, and says for each thing that it is well or how to mend it.

mod programs;

use std::fmt;
use std::io;
use std::path::Path;

use drawbridge_gather::check::search_path;
use drawbridge_gather::{Place, Source};
use serde::Serialize;
use thiserror::Error;

use crate::cloud::{Cloud, Probed};
use crate::config::Config;
use crate::engine::list_snapshots;
use crate::exit::Exit;
use crate::gather::{GatherError, SourceState, in_one_line};
use crate::secret::Secret;
use crate::state_file;
use crate::ui::Ui;

/// Why something couldn't even be tried.
#[derive(Debug, Error)]
pub enum CheckError {
    /// Trying a source broke off.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// A thread of ours ended by itself.
    #[error("opening the local repository broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
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
    let password = config.read_password();
    let opened = match &password {
        Ok(password) => check_repository(config, password).await?,
        Err(_) => None,
    };
    tell(format!("password {}", config.password_file.display()), fix(password));
    if let Some(fixes) = opened {
        tell(format!("local repository {}", config.repository_dir().display()), fixes);
    }
    tell(format!("state folder {}", config.state_dir.display()), check_state_dir(&config.state_dir));
    for source in &config.sources {
        tell(format!("source {} {}", source.name, place(source)), try_source(config, source).await?);
    }
    let cloud = Cloud::connect(&config.stack).await;
    for Probed { function, result } in cloud.probe_each().await {
        tell(format!("stack function {function} in {}", config.stack.region), fix(result));
    }
    let summary = Summary { failed };
    ui.result("checked", &summary, &summary);
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

fn place(source: &Source) -> String {
    match &source.place {
        Place::Local { .. } => "on this machine".to_owned(),
        // What can't be resolved is said by trying it.
        Place::Ssh(target) => {
            drawbridge_hosts::resolve(target).map_or_else(|_| target.host.clone(), |resolved| resolved.to_string())
        }
    }
}

/// What a gathering of `source` would meet, without fetching anything.
async fn try_source(config: &Config, source: &Source) -> Result<Vec<String>, CheckError> {
    let outcome = drawbridge_gather::preview(&config.site(), source, |_| {}).await.map_err(GatherError::from)?;
    let mut fixes = match outcome.state {
        SourceState::Complete => Vec::new(),
        SourceState::Partial { problems, .. } => problems,
        SourceState::Failed { error } => vec![error],
    };
    fixes.extend(programs::missing(source, &search_path()));
    Ok(fixes)
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

/// Whether the password opens the local repository; `None` before there is one.
async fn check_repository(config: &Config, password: &Secret) -> Result<Option<Vec<String>>, CheckError> {
    let (folder, password) = (config.repository_dir(), password.clone());
    if !folder.exists() {
        return Ok(None);
    }
    Ok(Some(fix(tokio::task::spawn_blocking(move || list_snapshots(&folder, password.reveal())).await?)))
}

/// Writes a file, and takes it away again.
fn write_something(dir: &Path) -> io::Result<()> {
    const NAME: &str = "check.json";
    state_file::replace(dir, NAME, b"null\n")?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_folder_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(check_state_dir(&state), Vec::<String>::new());
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(check_state_dir(&state).concat().contains("chmod 700"));
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(check_state_dir(&dir.path().join("file/state")).concat().contains("can't be used"));
    }

    /// The stack is nobody: port 9 of this machine is closed.
    #[tokio::test]
    async fn every_failing_thing_has_its_own_line_and_the_exit_code_says_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("aws"),
            "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret\n",
        )
        .unwrap();
        let text = format!(
            "state_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\n\
             start = \"a\"\nsession = \"b\"\nreport = \"c\"\ncredentials_file = \"aws\"\n\
             endpoint_url = \"http://127.0.0.1:9\"\n[[source]]\nname = \"here\"\npaths = [{:?}, \"/nonexistent\"]\n",
            dir.path().join("aws").display().to_string()
        );
        let config = Config::parse(&text, &dir.path().join("drawbridge.toml")).unwrap();
        let output = dir.path().join("output");
        let ui = Ui::new(crate::ui::Form::Plain, Box::new(fs::File::create(&output).unwrap()), Box::new(io::sink()));
        assert_eq!(check(&config, &ui).await.unwrap(), Exit::Failed);
        let said = fs::read_to_string(&output).unwrap();
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
        assert_eq!(failed.len(), 5, "{said}");
        for part in ["drawbridge init", "/nonexistent: No such file", "cannot reach the stack"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains("ok    state folder") && said.contains("5 things to mend"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
