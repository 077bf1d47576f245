//! A Python with exactly the pinned packages, in a virtual environment below `target/python/`.
//!
//! The environment's folder is named by the hash of its requirements, and a marker is written when it is complete: a
//! changed pin makes a new one, an interrupted installation is begun again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::error::Context;
use crate::{Problem, Result, Workspace};

/// The oldest Python that the emulator runs on.
const OLDEST: (u32, u32) = (3, 11);
const MARKER: &str = "complete";

/// Which packages an environment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirements {
    /// What the local AWS needs.
    Emulator,
    /// The emulator's, and the linters for the template and the state machine.
    Linters,
}

impl Requirements {
    const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Emulator => &["requirements.txt"],
            Self::Linters => &["requirements.txt", "requirements-lint.txt"],
        }
    }
}

/// The interpreter of an environment that holds `requirements`; made first if it isn't there.
///
/// # Errors
/// When there is no Python of at least 3.11 with venv, or the packages can't be installed.
pub fn interpreter(workspace: &Workspace, requirements: Requirements) -> Result<PathBuf> {
    let folder = environment_folder(workspace, requirements)?;
    let python = folder.join("bin/python");
    fs::create_dir_all(workspace.target()).context(|| format!("cannot create {}", workspace.target().display()))?;
    let lock_path = workspace.target().join("python.lock");
    let lock = fs::File::create(&lock_path).context(|| format!("cannot create {}", lock_path.display()))?;
    flock(&lock, FlockOperation::LockExclusive).context(|| format!("cannot lock {}", lock_path.display()))?;
    if folder.join(MARKER).exists() {
        return Ok(python);
    }
    let system = system_python()?;
    eprintln!("setting up Python packages in {} (once)", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).context(|| format!("cannot remove the incomplete {}", folder.display()))?;
    }
    run(
        Command::new(&system).args(["-m", "venv"]).arg(&folder),
        "cannot create a Python virtual environment; on Debian: apt-get install python3-venv",
    )?;
    for file in requirements.files() {
        run(
            Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--require-hashes",
                    "--no-deps",
                    "-r",
                ])
                .arg(workspace.emulator().join(file)),
            "cannot install the pinned Python packages; is PyPI reachable?",
        )?;
    }
    fs::write(folder.join(MARKER), "").context(|| format!("cannot write to {}", folder.display()))?;
    Ok(python)
}

fn environment_folder(workspace: &Workspace, requirements: Requirements) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for file in requirements.files() {
        let path = workspace.emulator().join(file);
        hash.update(fs::read(&path).context(|| format!("cannot read {}", path.display()))?);
    }
    let name = hex::encode(hash.finalize());
    Ok(workspace.target().join("python").join(name.get(..16).unwrap_or(&name)))
}

/// `python3` from the path, if it is new enough.
fn system_python() -> Result<PathBuf> {
    let missing = || {
        Problem::new(format!(
            "Python {}.{} or newer is needed and python3 is not that; on Debian: apt-get install python3 python3-venv",
            OLDEST.0, OLDEST.1
        ))
    };
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)"])
        .output()
        .map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.trim().splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
    let version = number().zip(number()).ok_or_else(missing)?;
    let path = words.next().map(PathBuf::from).ok_or_else(missing)?;
    if version < OLDEST { Err(missing()) } else { Ok(path) }
}

fn run(command: &mut Command, otherwise: &str) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().context(|| format!("{otherwise} (could not run {program})"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Problem::because(
        otherwise,
        if said.is_empty() { format!("{program} ended with {}", output.status) } else { said },
    ))
}
