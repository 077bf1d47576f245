//! What must be true of a source as a whole. Pure: numbers in, a judgement out.

use super::Rejection;

/// What must be true of a source as a whole.
#[derive(Debug, Clone, Default)]
pub struct SourceRule {
    /// At least so many files.
    pub min_files: Option<u64>,
    /// At least so many bytes in all.
    pub min_bytes: Option<u64>,
    /// The largest share of the last good copy's files that may be gone, 0.0 to 1.0. Without one, any, as long as something is left.
    pub max_vanish: Option<f64>,
}

/// What a new copy holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How a new copy compares with the last good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vanish {
    /// The files of the last good copy.
    pub held: u64,
    /// How many of them the new copy lacks.
    pub gone: u64,
}

impl SourceRule {
    /// Whether a copy may replace the last good one. `before` is `None` when there is none, or when the operator has accepted
    /// what vanished.
    ///
    /// # Errors
    /// When it may not; the words say why and how to accept it.
    pub fn judge(&self, source: &str, now: Totals, before: Option<Vanish>) -> Result<(), Rejection> {
        if let Some(least) = self.min_files
            && now.files < least
        {
            return Err(Rejection(format!("it has {} files, and should have {least} or more (min_files)", now.files)));
        }
        if let Some(least) = self.min_bytes
            && now.bytes < least
        {
            return Err(Rejection(format!("it has {} bytes, and should have {least} or more (min_size)", now.bytes)));
        }
        before.map_or(Ok(()), |vanish| self.bear(source, now, vanish))
    }

    fn bear(&self, source: &str, now: Totals, Vanish { held, gone }: Vanish) -> Result<(), Rejection> {
        let limit = match self.max_vanish {
            // A file under a new name every day is all gone every day: only nothing at all is suspicious by itself.
            None if held > 0 && gone >= held && now.files == 0 => String::new(),
            Some(share) if held > 0 && share_of(gone, held) > share => {
                format!(", and at most {:.0}% may be", share * 100.0)
            }
            _ => return Ok(()),
        };
        Err(Rejection(format!(
            "{gone} of the last good copy's {held} files are gone{limit}; if that is right, accept it with \
             `drawbridge gather {source} --accept-vanished`"
        )))
    }
}

/// Rounding is of no matter: equal shares give equal quotients.
#[allow(clippy::cast_precision_loss)]
fn share_of(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    const SOME: Totals = Totals { files: 10, bytes: 1000 };

    fn vanish(max_vanish: Option<f64>, held: u64, gone: u64) -> Result<(), Rejection> {
        SourceRule { max_vanish, ..SourceRule::default() }.judge("ad", SOME, Some(Vanish { held, gone }))
    }

    #[test]
    fn a_copy_that_lacks_everything_is_refused_without_any_rule() {
        let empty = |held| SourceRule::default().judge("ad", Totals::default(), Some(Vanish { held, gone: held }));
        let refused = empty(5).expect_err("all gone").to_string();
        assert!(
            refused.contains("5 of the last good copy's 5") && refused.contains("gather ad --accept-vanished"),
            "{refused}"
        );
        assert!(vanish(None, 5, 5).is_ok(), "others have come");
        assert!(empty(0).is_ok(), "there was nothing to lose");
    }

    #[test]
    fn the_share_that_may_vanish_is_kept_to_the_file() {
        assert!(vanish(Some(0.2), 5, 1).is_ok());
        let refused = vanish(Some(0.2), 5, 2).expect_err("two fifths").to_string();
        assert!(refused.contains("at most 20%"), "{refused}");
        assert!(vanish(Some(0.0), 1_000_000, 1).is_err());
        assert!(vanish(Some(1.0), 5, 5).is_ok(), "everything may go when that is what was said");
    }

    #[test]
    fn what_the_operator_accepted_or_never_was_is_no_loss() {
        assert!(SourceRule { max_vanish: Some(0.0), ..SourceRule::default() }.judge("ad", SOME, None).is_ok());
    }

    #[test]
    fn a_copy_with_too_few_files_or_bytes_is_refused() {
        let files = |least| SourceRule { min_files: Some(least), ..SourceRule::default() }.judge("ad", SOME, None);
        assert!(files(10).is_ok());
        assert!(files(11).expect_err("ten").to_string().contains("10 files, and should have 11"));
        let bytes = |least| SourceRule { min_bytes: Some(least), ..SourceRule::default() }.judge("ad", SOME, None);
        assert!(bytes(1000).is_ok());
        assert!(bytes(1001).expect_err("1000").to_string().contains("1000 bytes"));
    }
}
