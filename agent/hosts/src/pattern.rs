//! OpenSSH's patterns (ssh_config(5), PATTERNS): `*`, `?`, and lists with exceptions.

/// `*` stands for any number of characters, `?` for one. Takes time in proportion to both lengths' product at most.
pub(crate) fn matches(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
    let (mut at, mut in_pattern) = (0, 0);
    // After the last `*`: where it is, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at) {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(b'?') => (at, in_pattern) = (at + 1, in_pattern + 1),
            Some(expected) if expected == byte => (at, in_pattern) = (at + 1, in_pattern + 1),
            _ => match star {
                None => return false,
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, in_pattern) = (taken + 1, place + 1);
                }
            },
        }
    }
    pattern.get(in_pattern..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Whether one of `patterns` matches `name` and none of those that begin with `!` does.
pub(crate) fn matches_any<'a>(name: &str, patterns: impl IntoIterator<Item = &'a str>) -> bool {
    let mut named = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(exception) if matches(name, exception) => return false,
            Some(_) => {}
            None => named |= matches(name, pattern),
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, name, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "x", true),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("", "a", false),
            ("[127.0.0.1]:*", "[127.0.0.1]:2222", true),
        ] {
            assert_eq!(matches(name, pattern), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn an_exception_wins_wherever_it_stands() {
        for (list, expected) in [("*.lan,!bad.lan", false), ("!bad.lan,*.lan", false), ("!bad.lan", false), ("*", true)]
        {
            assert_eq!(matches_any("bad.lan", list.split(',')), expected, "{list}");
        }
        assert!(matches_any("good.lan", "*.lan,!bad.lan".split(',')));
    }
}
