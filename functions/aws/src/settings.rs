//! What the template tells the functions: environment variables, read once at start.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use drawbridge_domain::admission::Limits;
use drawbridge_domain::launch::{Choices, Subnet};
use drawbridge_domain::window::WindowRule;
use drawbridge_wire::Site;
use thiserror::Error as ThisError;

/// A setting that is missing or makes no sense. `Debug` says the same as `Display`, because it is what a failed `main` shows.
#[derive(ThisError)]
pub enum SettingsError {
    /// Not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// Set to something else than expected.
    #[error("the environment variable {name} is {value:?}, which is not valid: {source}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where settings are read from.
pub struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl<'a> Environment<'a> {
    /// An environment of one's own.
    #[must_use]
    pub const fn new(read: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(read)
    }

    fn text(&self, name: &'static str) -> Result<String, SettingsError> {
        (self.0)(name).filter(|value| !value.is_empty()).ok_or(SettingsError::Missing(name))
    }

    fn get<T: FromStr<Err: Error + Send + Sync + 'static>>(&self, name: &'static str) -> Result<T, SettingsError> {
        let value = self.text(name)?;
        value.parse().map_err(|error| SettingsError::Invalid { name, value, source: Box::new(error) })
    }

    fn list<T>(
        &self,
        name: &'static str,
        item: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, SettingsError> {
        let value = self.text(name)?;
        let items = value.split(',').map(|text| item(text.trim())).collect::<Result<_, _>>();
        items.map_err(|wrong| SettingsError::Invalid { name, value, source: wrong.into() })
    }
}

const SITE: &str = "DRAWBRIDGE_SITE";
const STATE_MACHINE: &str = "DRAWBRIDGE_STATE_MACHINE_ARN";
const VAULT: &str = "DRAWBRIDGE_VAULT";
const HEARTBEAT: &str = "DRAWBRIDGE_HEARTBEAT_SECONDS";
const BOOT: &str = "DRAWBRIDGE_BOOT_SECONDS";
const PORT: &str = "DRAWBRIDGE_GATE_PORT";
const GROUP: &str = "DRAWBRIDGE_SECURITY_GROUP";

/// The gate's program, beside the function's own in its package.
const GATE_PROGRAM: &str = "drawbridge-gate";

/// Settings that can be read from an environment.
macro_rules! from_env {
    ($($settings:ident),*) => {
        $(impl $settings {
            /// Reads them from the process's environment.
            ///
            /// # Errors
            /// When one is missing or makes no sense.
            pub fn from_env() -> Result<Self, SettingsError> {
                Self::read(&Environment(&|name| std::env::var(name).ok()))
            }
        })*
    };
}

from_env!(
    StartSettings,
    ProvisionSettings,
    ReadySettings,
    SessionSettings,
    ReportSettings,
    VerifySettings,
    DestroySettings
);

/// Settings of `start`.
#[derive(Debug, Clone)]
pub struct StartSettings {
    /// The state machine's ARN.
    pub state_machine: String,
    /// What the stack allows.
    pub limits: Limits,
}

impl StartSettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        let limits = Limits {
            site: env.get(SITE)?,
            slot_seconds: env.get("DRAWBRIDGE_SLOT_SECONDS")?,
            max_runs_per_day: env.get("DRAWBRIDGE_MAX_RUNS_PER_DAY")?,
            max_objects: env.get("DRAWBRIDGE_MAX_OBJECTS")?,
            max_bytes: env.get("DRAWBRIDGE_MAX_BYTES")?,
            allowed: env.get("DRAWBRIDGE_ALLOWED_CIDR")?,
            generation: env.get("DRAWBRIDGE_GENERATION")?,
            boot_seconds: env.get(BOOT)?,
            window: WindowRule {
                base_seconds: env.get("DRAWBRIDGE_WINDOW_BASE_SECONDS")?,
                bytes_per_second: env.get("DRAWBRIDGE_WINDOW_BYTES_PER_SECOND")?,
                max_seconds: env.get("DRAWBRIDGE_WINDOW_MAX_SECONDS")?,
            },
            heartbeat_seconds: env.get(HEARTBEAT)?,
        };
        let (heartbeat, shortest) = (limits.heartbeat_seconds, limits.window.shortest());
        if heartbeat >= shortest {
            let wrong = format!(
                "nobody would miss a silent agent; set HeartbeatSeconds to less than the shortest window, {shortest} s, \
                 which is WindowBaseSeconds or, if that is less, WindowMaxSeconds"
            );
            return Err(SettingsError::Invalid { name: HEARTBEAT, value: heartbeat.to_string(), source: wrong.into() });
        }
        Ok(Self { state_machine: env.text(STATE_MACHINE)?, limits })
    }
}

/// Settings of `provision`.
#[derive(Debug, Clone)]
pub struct ProvisionSettings {
    /// The stack's site.
    pub site: Site,
    /// The AWS region.
    pub region: String,
    /// The vault's bucket.
    pub vault: String,
    /// The state machine's ARN.
    pub state_machine: String,
    /// The launch template's id.
    pub template_id: String,
    /// Instance types and subnets, best first.
    pub choices: Choices,
    /// The box's security group.
    pub security_group: String,
    /// The gate's TCP port.
    pub port: u16,
    /// Seconds from the execution's start until the bridge must be down.
    pub boot_seconds: u32,
    /// The gate's program in this function's package.
    pub gate_program: PathBuf,
    /// How many days after it was put lifecycle hides an object of the vault.
    pub expire_days: u32,
}

impl ProvisionSettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        let subnet = |text: &str| match text.split_once('=') {
            Some((id, zone)) if !id.is_empty() && !zone.is_empty() => Ok(Subnet { id: id.into(), zone: zone.into() }),
            _ => Err("expected subnet-id=zone, separated by commas"),
        };
        let instance_type = |text: &str| match text {
            "" => Err("expected EC2 instance types, separated by commas"),
            name => Ok(name.to_owned()),
        };
        Ok(Self {
            site: env.get(SITE)?,
            region: env.text("AWS_REGION")?,
            vault: env.text(VAULT)?,
            state_machine: env.text(STATE_MACHINE)?,
            template_id: env.text("DRAWBRIDGE_LAUNCH_TEMPLATE_ID")?,
            choices: Choices {
                instance_types: env.list("DRAWBRIDGE_INSTANCE_TYPES", instance_type)?,
                subnets: env.list("DRAWBRIDGE_SUBNETS", subnet)?,
            },
            security_group: env.text(GROUP)?,
            port: env.get(PORT)?,
            boot_seconds: env.get(BOOT)?,
            gate_program: PathBuf::from(env.text("LAMBDA_TASK_ROOT")?).join(GATE_PROGRAM),
            expire_days: env.get("DRAWBRIDGE_EXPIRE_DAYS")?,
        })
    }
}

/// Settings of `ready`.
#[derive(Debug, Clone)]
pub struct ReadySettings {
    /// The stack's site.
    pub site: Site,
    /// The vault's bucket.
    pub vault: String,
    /// The gate's TCP port.
    pub port: u16,
}

impl ReadySettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        Ok(Self { site: env.get(SITE)?, vault: env.text(VAULT)?, port: env.get(PORT)? })
    }
}

/// Settings of `session`.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The stack's site.
    pub site: Site,
    /// The state machine's ARN.
    pub state_machine: String,
    /// The vault's bucket.
    pub vault: String,
}

impl SessionSettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        Ok(Self { site: env.get(SITE)?, state_machine: env.text(STATE_MACHINE)?, vault: env.text(VAULT)? })
    }
}

/// Settings of `report`.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// The stack's site.
    pub site: Site,
}

impl ReportSettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        Ok(Self { site: env.get(SITE)? })
    }
}

/// Settings of `verify`.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// The vault's bucket.
    pub vault: String,
    /// For how many days from now on every object must be locked; 0 when the stack promises nothing.
    pub promised_days: u32,
    /// The state machine's ARN, whose executions tell what a run declared.
    pub state_machine: String,
}

impl VerifySettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        Ok(Self {
            vault: env.text(VAULT)?,
            promised_days: env.get("DRAWBRIDGE_PROMISED_DAYS")?,
            state_machine: env.text(STATE_MACHINE)?,
        })
    }
}

/// Settings of `destroy`.
#[derive(Debug, Clone)]
pub struct DestroySettings {
    /// The stack's site.
    pub site: Site,
    /// The state machine's ARN.
    pub state_machine: String,
    /// The box's security group.
    pub security_group: String,
}

impl DestroySettings {
    /// Reads them.
    ///
    /// # Errors
    /// When one is missing or makes no sense.
    pub fn read(env: &Environment<'_>) -> Result<Self, SettingsError> {
        Ok(Self { site: env.get(SITE)?, state_machine: env.text(STATE_MACHINE)?, security_group: env.text(GROUP)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn provision(change: (&str, &str)) -> Result<ProvisionSettings, SettingsError> {
        let read = |name: &str| {
            let value = match name {
                name if name == change.0 => change.1,
                SITE => "home",
                "AWS_REGION" => "eu-central-1",
                VAULT => "vault",
                STATE_MACHINE => "arn:aws:states:eu-central-1:123456789012:stateMachine:backup",
                "DRAWBRIDGE_LAUNCH_TEMPLATE_ID" => "lt-1",
                "DRAWBRIDGE_INSTANCE_TYPES" => "t3.nano, t3.micro",
                "DRAWBRIDGE_SUBNETS" => "subnet-a=eu-central-1a,subnet-b=eu-central-1b",
                GROUP => "sg-1",
                PORT => "2222",
                BOOT => "300",
                "DRAWBRIDGE_EXPIRE_DAYS" => "124",
                "LAMBDA_TASK_ROOT" => "/var/task",
                _ => return None,
            };
            Some(value.to_owned())
        };
        ProvisionSettings::read(&Environment::new(&read))
    }

    fn start(heartbeat: &str, base: &str, max: &str) -> Result<StartSettings, SettingsError> {
        let read = |name: &str| {
            let value = match name {
                SITE => "home",
                STATE_MACHINE => "arn:aws:states:eu-central-1:123456789012:stateMachine:backup",
                "DRAWBRIDGE_ALLOWED_CIDR" => "0.0.0.0/0",
                "DRAWBRIDGE_GENERATION" => "month",
                "DRAWBRIDGE_WINDOW_BASE_SECONDS" => base,
                "DRAWBRIDGE_WINDOW_MAX_SECONDS" => max,
                HEARTBEAT => heartbeat,
                _ => "900",
            };
            Some(value.to_owned())
        };
        StartSettings::read(&Environment::new(&read))
    }

    #[test]
    fn a_heartbeat_is_shorter_than_the_shortest_window() {
        for (heartbeat, base, max) in [("6", "30", "14400"), ("120", "600", "14400"), ("4", "5", "5")] {
            assert_eq!(start(heartbeat, base, max).unwrap().limits.heartbeat_seconds.to_string(), heartbeat);
        }
        for (heartbeat, base, max) in [("600", "5", "14400"), ("600", "600", "14400"), ("60", "600", "60")] {
            let error = start(heartbeat, base, max).unwrap_err().to_string();
            for word in [HEARTBEAT, heartbeat, "less than the shortest window", "WindowBaseSeconds"] {
                assert!(error.contains(word), "{word} in {error}");
            }
        }
    }

    #[test]
    fn lists_are_split_and_the_gate_lies_beside_the_function() {
        let settings = provision(("", "")).unwrap();
        assert_eq!(settings.choices.instance_types, ["t3.nano", "t3.micro"]);
        let zones: Vec<_> = settings.choices.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
        assert_eq!(zones, ["eu-central-1a", "eu-central-1b"]);
        assert_eq!(settings.gate_program, PathBuf::from("/var/task/drawbridge-gate"));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_value() {
        for (name, value) in [(PORT, "70000"), ("DRAWBRIDGE_SUBNETS", "subnet-a"), (SITE, "Home!"), (BOOT, "-1")] {
            let error = provision((name, value)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        let error = provision((VAULT, "")).unwrap_err().to_string();
        assert!(error.contains(VAULT) && error.contains("not set"), "{error}");
    }
}
