//! `Match` lines.

use super::{At, ConfigError, Reader};
use crate::pattern::matches_any;

impl Reader<'_> {
    /// Whether the criteria of a `Match` line all hold. One that can't be judged is an error, unless another fails anyway.
    pub(super) fn matches(&self, arguments: &[String], at: At<'_>) -> Result<bool, ConfigError> {
        let mut holds = true;
        let mut unjudged = None;
        let mut arguments = arguments.iter();
        let mut none_yet = true;
        while let Some(criterion) = arguments.next() {
            none_yet = false;
            let (criterion, joined) = match criterion.split_once('=') {
                Some((criterion, value)) => (criterion, Some(value.to_owned())),
                None => (criterion.as_str(), None),
            };
            let (negated, name) = criterion.strip_prefix('!').map_or((false, criterion), |name| (true, name));
            let result = match name.to_ascii_lowercase().as_str() {
                "all" => true,
                // Only ever true after CanonicalizeHostname, which is refused.
                "canonical" => false,
                name @ ("host" | "originalhost" | "user" | "localuser") => {
                    let Some(patterns) = joined.or_else(|| arguments.next().cloned()) else {
                        return Err(at.wrong(format!("Match {name} needs a pattern")));
                    };
                    matches_any(&self.subject(name), patterns.split(','))
                }
                other => {
                    unjudged.get_or_insert_with(|| other.to_owned());
                    // All others take a value, except `final`.
                    if other != "final" && joined.is_none() {
                        arguments.next();
                    }
                    continue;
                }
            };
            holds &= result != negated;
        }
        if none_yet {
            return Err(at.wrong("Match needs at least one criterion"));
        }
        match unjudged {
            Some(name) if holds => Err(at.wrong(format!(
                "`Match {name}` is not supported here, only all, host, originalhost, user, localuser; give drawbridge its own file \
                 with `ssh_config`"
            ))),
            _ => Ok(holds),
        }
    }

    /// What a criterion is held against: values as far as the lines above have set them.
    fn subject(&self, criterion: &str) -> String {
        match criterion {
            "host" => match &self.settings.host_name {
                Some(name) => name.replace("%h", self.host).replace("%%", "%"),
                None => self.host.to_owned(),
            },
            "originalhost" => self.host.to_owned(),
            "user" => self.settings.user.clone().unwrap_or_else(|| self.here.user.clone()),
            _ => self.here.user.clone(),
        }
    }
}
