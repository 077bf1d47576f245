//! Faults as data: where one strikes, and what it does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caller {
    /// The backup VM.
    Agent,
    /// The function of this name; the next six too.
    Start,
    #[allow(missing_docs)]
    Provision,
    #[allow(missing_docs)]
    Ready,
    #[allow(missing_docs)]
    Session,
    #[allow(missing_docs)]
    Report,
    #[allow(missing_docs)]
    Verify,
    #[allow(missing_docs)]
    Destroy,
    /// The state machine itself.
    States,
    /// The jump box: its user data and the gate.
    Box,
}

impl Caller {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Agent,
        Self::Start,
        Self::Provision,
        Self::Ready,
        Self::Session,
        Self::Report,
        Self::Verify,
        Self::Destroy,
        Self::States,
        Self::Box,
    ];

    /// Its name, as the local stack's routes and the faults' JSON have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Start => "start",
            Self::Provision => "provision",
            Self::Ready => "ready",
            Self::Session => "session",
            Self::Report => "report",
            Self::Verify => "verify",
            Self::Destroy => "destroy",
            Self::States => "states",
            Self::Box => "box",
        }
    }

    /// Whether it is one of the functions.
    #[must_use]
    pub const fn is_function(self) -> bool {
        !matches!(self, Self::Agent | Self::States | Self::Box)
    }
}

/// A call, by who makes it and what it asks for. The same call of another run is the same call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Call {
    /// Who.
    pub caller: Caller,
    /// What, as IAM names it, with the kind of its object: `ec2:RunInstances`, `lambda:Invoke start`,
    /// `s3:PutObject repo/data`.
    pub action: String,
}

impl Call {
    /// Whether it asks for something and changes nothing.
    #[must_use]
    pub fn is_look(&self) -> bool {
        let operation = self.action.split_once(':').map_or("", |(_, operation)| operation);
        ["Describe", "Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.caller.name(), self.action)
    }
}

/// Before or after what a call asks for has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Nothing has been done.
    Before,
    /// All has been done, and the caller doesn't know yet.
    After,
}

/// A process that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Victim {
    /// The agent.
    Agent,
    /// The gate.
    Gate,
    /// The function that calls.
    Function,
}

/// What happens at a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Effect {
    /// Refused with the service's own internal error, HTTP status 500; nothing is done.
    Fail,
    /// Refused because there are too many calls; nothing is done.
    Throttle,
    /// Done, and the connection is cut before the answer.
    LoseAnswer,
    /// Done twice; the second answer is given.
    Twice,
    /// Kept for so long and then done, whether or not anybody still waits.
    Delay {
        /// Seconds.
        seconds: u64,
    },
    /// Done at once, and the answer comes so late that nobody waits for it any more.
    DelayAnswer {
        /// Seconds.
        seconds: u64,
    },
    /// Done, and the answer arrives as something else.
    Garble,
    /// EC2 has no machine of the kind that is asked for, where it is asked for; nothing is done.
    NoCapacity,
    /// Instances aren't visible yet: none is found, and one that is named is not there.
    Hide,
    /// Half of the body arrives, then the connection is cut.
    CutUpload,
    /// A bit of the body arrives turned over.
    FlipBit,
    /// SIGKILL.
    Kill {
        /// Whom.
        victim: Victim,
        /// When.
        when: When,
    },
    /// An operator stops the execution.
    Stop {
        /// When.
        when: When,
    },
}

/// Whose clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The backup VM's.
    Agent,
    /// The jump box's.
    Box,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// At a call.
    Call {
        /// Which.
        #[serde(flatten)]
        call: Call,
        /// At which of a run's calls of this kind it begins, counted from 1.
        nth: u32,
        /// How many of them it strikes.
        times: u32,
        /// What it does.
        #[serde(flatten)]
        effect: Effect,
    },
    /// The status change of the execution is never delivered to `destroy`.
    DropEvent,
    /// A clock is wrong during the whole run.
    Clock {
        /// Whose.
        whose: Clock,
        /// By how many minutes.
        minutes: i32,
    },
}

/// More often than any run calls anything.
pub const FOR_GOOD: u32 = 10_000;

impl Fault {
    /// A fault at the first call of its kind.
    #[must_use]
    pub const fn first(call: Call, effect: Effect) -> Self {
        Self::Call { call, nth: 1, times: 1, effect }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { call, nth, times, effect } => {
                write!(f, "{call}: {effect}")?;
                match (*nth, *times) {
                    (1, 1) => Ok(()),
                    (1, FOR_GOOD) => f.write_str(", for good"),
                    (nth, 1) => write!(f, ", at no. {nth}"),
                    (1, times) => write!(f, ", {times} times"),
                    (nth, FOR_GOOD) => write!(f, ", from no. {nth} on for good"),
                    (nth, times) => write!(f, ", from no. {nth}, {times} times"),
                }
            }
            Self::DropEvent => f.write_str("the event never comes"),
            Self::Clock { whose: Clock::Agent, minutes } => write!(f, "the agent's clock is off by {minutes} min"),
            Self::Clock { whose: Clock::Box, minutes } => write!(f, "the box's clock is off by {minutes} min"),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |when: &When| match when {
            When::Before => "before it is done",
            When::After => "after it was done",
        };
        match self {
            Self::Fail => f.write_str("fails"),
            Self::Throttle => f.write_str("throttled"),
            Self::LoseAnswer => f.write_str("answer lost"),
            Self::Twice => f.write_str("done twice"),
            Self::Delay { seconds } => write!(f, "late by {seconds} s"),
            Self::DelayAnswer { seconds } => write!(f, "answer late by {seconds} s"),
            Self::Garble => f.write_str("answer garbled"),
            Self::NoCapacity => f.write_str("no capacity"),
            Self::Hide => f.write_str("instances hidden"),
            Self::CutUpload => f.write_str("half of the body"),
            Self::FlipBit => f.write_str("a bit flipped"),
            Self::Kill { victim: Victim::Agent, when: at } => write!(f, "agent killed {}", when(at)),
            Self::Kill { victim: Victim::Gate, when: at } => write!(f, "gate killed {}", when(at)),
            Self::Kill { victim: Victim::Function, when: at } => write!(f, "function killed {}", when(at)),
            Self::Stop { when: at } => write!(f, "execution stopped {}", when(at)),
        }
    }
}

/// What one run is put through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What to call it.
    pub name: String,
    /// The faults. Where two would strike the same call, the first one does.
    pub faults: Vec<Fault>,
    /// The state that must fail, if it is known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_in: Option<String>,
    /// Whether the run must end well all the same.
    #[serde(default)]
    pub is_borne: bool,
    /// Whether every one of the faults must strike.
    pub all_strike: bool,
}

impl Case {
    /// A case of several faults, which must all strike.
    #[must_use]
    pub fn together(faults: impl Into<Vec<Fault>>) -> Self {
        let faults = faults.into();
        let name = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Self { name, faults, fails_in: None, is_borne: false, all_strike: true }
    }

    /// A case of one fault, which must strike.
    #[must_use]
    pub fn single(fault: Fault) -> Self {
        Self::together([fault])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_survives_its_file() {
        let call = Call { caller: Caller::Destroy, action: "ec2:TerminateInstances".to_owned() };
        let faults = vec![
            Fault::first(call.clone(), Effect::NoCapacity),
            Fault::first(call.clone(), Effect::Kill { victim: Victim::Function, when: When::After }),
            Fault::Call { call, nth: 2, times: FOR_GOOD, effect: Effect::Delay { seconds: 3 } },
            Fault::DropEvent,
            Fault::Clock { whose: Clock::Box, minutes: -10 },
        ];
        let case = Case {
            name: "several".to_owned(),
            faults,
            fails_in: Some("X".to_owned()),
            is_borne: true,
            all_strike: false,
        };
        let text = serde_json::to_string(&case).unwrap();
        assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case, "{text}");
    }
}
