//! Finding and killing the processes of one stack, and of no other.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

/// The processes that were started with this `NAME=value` in their environment, and whose command line begins with a
/// program of this name if one is given.
#[must_use]
pub fn started_with(variable: &str, program: Option<&str>) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let folder = PathBuf::from(format!("/proc/{id}"));
        // Whatever ends while we look isn't there any more.
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
        let is_program = program.is_none_or(|name| first.ends_with(name.as_bytes()));
        is_program && environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    })
    .collect()
}

/// SIGKILL. True when there was such a process.
#[must_use]
pub fn kill(id: i32) -> bool {
    Pid::from_raw(id).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_environment_and_program() {
        let variable = format!("DRAWBRIDGE_FAULTS_TEST={}", std::process::id());
        let (name, value) = variable.split_once('=').unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").env(name, value).spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        while started_with(&variable, Some("sleep")) != [id] {
            std::thread::yield_now();
        }
        assert!(started_with(&variable, Some("drawbridge-gate")).is_empty());
        assert!(started_with("DRAWBRIDGE_FAULTS_TEST=other", None).is_empty());
        assert!(kill(id));
        child.wait().unwrap();
        assert!(!kill(id));
    }
}
