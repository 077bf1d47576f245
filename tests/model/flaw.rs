//! What the checks find.

/// A property that the definition must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// Every state that is gone to exists.
    TargetsExist,
    /// Every state can be reached.
    NothingIsUnreachable,
    /// Nothing is done again but by a retrier, which is bounded.
    NothingRepeats,
    /// No execution ends, well or badly, before the jump box was destroyed.
    DestroyedBeforeTheEnd,
    /// Every task catches whatever can be caught: the last catcher takes all, alone.
    EveryTaskCatchesAll,
    /// Every task has a timeout of its own, with a known ceiling.
    EveryTaskHasATimeout,
    /// Nobody is waited for for long without a sign of life.
    SilenceIsBounded,
    /// heartbeat < timeout < the execution's timeout.
    TimesAreNested,
    /// A function can end, and tell how, before its state gives it up.
    FunctionsEndBeforeTheirStates,
    /// The execution's timeout comes last, whatever path was taken.
    TheExecutionOutlastsItsParts,
    /// Retriers name what may pass by itself; only what destroys is retried whatever happened.
    RetriesAreOnPurpose,
    /// What destroys is tried again, whatever happened.
    DestructionIsTriedAgain,
    /// Retriers and catchers name errors that somebody raises.
    MatchedErrorsExist,
    /// No payload exceeds what Step Functions and Parameter Store take.
    PayloadsFit,
    /// No Fail state's error or cause is longer than Step Functions takes.
    FailuresFit,
}

impl Property {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::TargetsExist,
        Self::NothingIsUnreachable,
        Self::NothingRepeats,
        Self::DestroyedBeforeTheEnd,
        Self::EveryTaskCatchesAll,
        Self::EveryTaskHasATimeout,
        Self::SilenceIsBounded,
        Self::TimesAreNested,
        Self::FunctionsEndBeforeTheirStates,
        Self::TheExecutionOutlastsItsParts,
        Self::RetriesAreOnPurpose,
        Self::DestructionIsTriedAgain,
        Self::MatchedErrorsExist,
        Self::PayloadsFit,
        Self::FailuresFit,
    ];
}

/// One place where a property doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) property: Property,
    /// A state, or a path.
    pub(crate) at: String,
    pub(crate) what: String,
}

impl Flaw {
    pub(crate) fn new(property: Property, at: &str, what: impl Into<String>) -> Self {
        Self { property, at: at.to_owned(), what: what.into() }
    }
}
