//! Single values: sizes, durations, shares, counts, globs.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::{Span, SpanRelativeTo};
use toml::Spanned;

use super::{Checked, Fault, fault};
use crate::config::shape::Quantity;

/// The longest time that may be configured for anything: ten years, beyond which somebody mistook the unit.
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A number of bytes, at least 1.
pub(super) fn size(key: &str, written: &Spanned<Quantity>) -> Checked<u64> {
    let bytes = match written.get_ref() {
        Quantity::Bytes(bytes) => u64::try_from(*bytes).ok(),
        Quantity::Text(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
    };
    match bytes {
        Some(bytes @ 1..) => Ok(bytes),
        _ => {
            fault(written, format!("{key} must be a size such as \"10 KiB\" or \"1 GiB\", or a number of bytes, not 0"))
        }
    }
}

/// A time longer than none.
pub(super) fn duration(key: &str, written: &Spanned<String>) -> Checked<Duration> {
    let span: Option<Span> = written.get_ref().parse().ok();
    // Days and weeks have a length; months and years have none, and are refused here.
    let duration = span
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| Duration::try_from(duration).ok());
    match duration {
        Some(duration) if !duration.is_zero() && duration <= MAX_DURATION => Ok(duration),
        _ => {
            fault(written, format!("{key} must be a time such as \"30s\", \"2 h\" or \"3 days\" (no months or years)"))
        }
    }
}

/// A share such as `20%`, as 0.0 to 1.0.
pub(super) fn share(key: &str, written: &Spanned<String>) -> Checked<f64> {
    let digits = written.get_ref().strip_suffix('%').map(str::trim_end);
    let plain = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    match plain.and_then(|digits| digits.parse::<f64>().ok()) {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => fault(written, format!("{key} must be a share such as \"20%\", 0% to 100%")),
    }
}

/// A whole number within `range`.
pub(super) fn count<T>(key: &str, written: &Spanned<i64>, range: RangeInclusive<T>) -> Checked<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    match T::try_from(*written.get_ref()) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => fault(written, format!("{key} must be between {} and {}", range.start(), range.end())),
    }
}

/// A glob that is matched against absolute paths; `*` stays within one folder, `**` crosses folders.
pub(super) fn glob(written: &Spanned<String>) -> Checked<Glob> {
    let text = written.get_ref();
    if !text.starts_with('/') && !text.starts_with("**/") {
        let advice = text.trim_start_matches('/');
        return fault(
            written,
            format!("{text:?} can never match, since absolute paths are looked at: write \"/...\" or \"**/{advice}\""),
        );
    }
    rooted(written, text)
}

/// A glob, the text of which may differ from what is written.
pub(super) fn rooted(written: &Spanned<String>, text: &str) -> Checked<Glob> {
    GlobBuilder::new(text).literal_separator(true).build().map_err(|error| Fault {
        span: written.span(),
        problem: format!("{text:?} is not a pattern: {}", error.kind()),
    })
}

/// Several globs as one.
pub(super) fn globs(globs: impl IntoIterator<Item = Checked<Glob>>, span: std::ops::Range<usize>) -> Checked<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(glob?);
    }
    set.build()
        .map_err(|error| Fault { span, problem: format!("these patterns are too much together: {}", error.kind()) })
}
