//! What `sam build` would do: the functions as built, each in a zip that Lambda's custom runtime takes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::Context;
use crate::{Problem, Result, Workspace};

/// The functions, by the name of their folder in `functions/`.
pub(crate) const FUNCTIONS: [&str; 7] = ["start", "provision", "ready", "session", "report", "verify", "destroy"];

/// What travels in a function's package beside its program.
fn companions(function: &str) -> &'static [&'static str] {
    // The box has no other way to the gate than from the vault, and `provision` puts it there.
    if function == "provision" { &["drawbridge-gate"] } else { &[] }
}

/// Builds every program of the workspace.
///
/// # Errors
/// When cargo isn't there or doesn't succeed.
pub fn build(workspace: &Workspace) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace.root())
        .args(["build", "--workspace", "--bins", "--target-dir"])
        .arg(workspace.target())
        .status()
        .context(|| "cannot run cargo".to_owned())?;
    if status.success() { Ok(()) } else { Err(Problem::new("the programs do not build; see cargo's messages above")) }
}

/// Zips every function into `folder`.
///
/// # Errors
/// When a program isn't built, or the zip can't be written.
pub(crate) fn package(workspace: &Workspace, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
    for function in FUNCTIONS {
        let program = workspace.program(&format!("drawbridge-{function}"));
        let mut entries = vec![("bootstrap", program)];
        entries.extend(companions(function).iter().map(|name| (*name, workspace.program(name))));
        let zip = folder.join(format!("{function}.zip"));
        write_zip(&zip, &entries).context(|| format!("cannot package {}", zip.display()))?;
    }
    Ok(())
}

fn write_zip(zip: &Path, entries: &[(&str, PathBuf)]) -> io::Result<()> {
    let mut writer = ZipWriter::new(File::create(zip)?);
    // Stored: this zip travels from one process to the next on the same machine.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(0o755);
    for (name, path) in entries {
        writer.start_file(*name, options.large_file(false))?;
        io::copy(&mut File::open(path)?, &mut writer)?;
    }
    writer.finish()?;
    Ok(())
}
