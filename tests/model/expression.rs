//! How long an expression's value can get, without evaluating it.
//!
//! A small reader of what the definition uses of JSONata: texts, joins, choices, objects, blocks with variables, and some
//! functions. Each part answers the most that its value can come to. What it doesn't know is an error here, and whoever wrote it
//! adds what it can come to.

use std::collections::BTreeMap;

use crate::answers::SUBSTITUTION_BYTES;
use crate::tokens::{Token, tokens};

/// What lengths are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Unit {
    /// Bytes of JSON, which writes the worst of characters in six.
    #[default]
    Bytes,
    /// Characters.
    Characters,
}

impl Unit {
    /// The most that so many characters come to.
    pub(crate) const fn of(self, characters: usize) -> usize {
        match self {
            Self::Bytes => 6 * characters,
            Self::Characters => characters,
        }
    }
}

/// `false`.
const BOOLEAN: usize = 5;

type Reference<'a> = &'a dyn Fn(&str) -> Result<usize, String>;

/// The most that the value of `expression` comes to, with `reference` knowing each `$name.of.something`.
pub(crate) fn longest(expression: &str, unit: Unit, reference: Reference<'_>) -> Result<usize, String> {
    let tokens = tokens(expression)?;
    let mut reader = Reader { tokens: &tokens, at: 0, unit, reference, locals: BTreeMap::new() };
    let value = reader.expression()?;
    if reader.at < tokens.len() { Err(format!("{:?} is not understood", tokens[reader.at])) } else { Ok(value) }
}

/// What a name stands for within an expression.
#[derive(Debug, Clone)]
enum Local {
    Value(usize),
    /// Its parameter, and where its body begins.
    Function(String, usize),
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    unit: Unit,
    reference: Reference<'a>,
    locals: BTreeMap<String, Local>,
}

impl Reader<'_> {
    fn is_next(&self, mark: char) -> bool {
        self.tokens.get(self.at) == Some(&Token::Mark(mark))
    }

    fn takes(&mut self, mark: char) -> bool {
        let taken = self.is_next(mark);
        self.at += usize::from(taken);
        taken
    }

    fn expects(&mut self, mark: char) -> Result<(), String> {
        if self.takes(mark) { Ok(()) } else { Err(format!("{mark} and not {:?}", self.tokens.get(self.at))) }
    }

    /// An assignment, or a choice between values, or a value.
    fn expression(&mut self) -> Result<usize, String> {
        if let (Some(Token::Variable(name)), Some(Token::Assign)) =
            (self.tokens.get(self.at), self.tokens.get(self.at + 1))
        {
            self.at += 2;
            let local = self.assigned()?;
            self.locals.insert(name.clone(), local);
            return Ok(0);
        }
        let value = self.joined()?;
        if !self.takes('?') {
            return Ok(value);
        }
        let then = self.expression()?;
        self.expects(':')?;
        Ok(then.max(self.expression()?))
    }

    fn assigned(&mut self) -> Result<Local, String> {
        if self.tokens.get(self.at) != Some(&Token::Word("function".to_owned())) {
            return self.expression().map(Local::Value);
        }
        self.at += 1;
        self.expects('(')?;
        let Some(Token::Variable(parameter)) = self.tokens.get(self.at) else { return Err("a parameter".to_owned()) };
        self.at += 1;
        self.expects(')')?;
        let body = self.at;
        self.skip_braces()?;
        Ok(Local::Function(parameter.clone(), body))
    }

    /// Past a function's body, which is read when it is called.
    fn skip_braces(&mut self) -> Result<(), String> {
        let mut depth = 0;
        loop {
            match self.tokens.get(self.at).ok_or("an open function")? {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Values with operators between them: joined they add up, compared they are a truth.
    fn joined(&mut self) -> Result<usize, String> {
        let mut all = self.value()?;
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Mark('&' | '+')) => {
                    self.at += 1;
                    all += self.value()?;
                }
                Some(Token::Mark('=' | '<' | '>')) => {
                    self.at += 1;
                    self.value()?;
                    all = BOOLEAN;
                }
                Some(Token::Word(word)) if ["and", "or"].contains(&word.as_str()) => {
                    self.at += 1;
                    self.joined()?;
                    all = BOOLEAN;
                }
                _ => return Ok(all),
            }
        }
    }

    /// A value and what is picked of it, which is no longer than all of it.
    fn value(&mut self) -> Result<usize, String> {
        let value = self.whole()?;
        loop {
            if self.takes('.') {
                self.at += 1;
            } else if self.takes('[') {
                self.expression()?;
                self.expects(']')?;
            } else {
                return Ok(value);
            }
        }
    }

    fn whole(&mut self) -> Result<usize, String> {
        let token = self.tokens.get(self.at).ok_or("a value and not the end")?.clone();
        self.at += 1;
        match token {
            Token::Text(text) => Ok(text.length(self.unit)),
            Token::Number(number) => Ok(number.digits),
            Token::Substitution => Ok(SUBSTITUTION_BYTES),
            Token::Mark('(') => self.block(),
            Token::Mark('{') => self.object(),
            Token::Variable(name) if self.takes('(') => self.call(&name),
            Token::Variable(name) => match self.locals.get(&name) {
                Some(Local::Value(value)) => Ok(*value),
                Some(Local::Function(..)) => Err(format!("${name} is a function")),
                None => (self.reference)(&name),
            },
            other => Err(format!("{other:?} is not understood")),
        }
    }

    /// Its last expression is its value.
    fn block(&mut self) -> Result<usize, String> {
        let mut value = self.expression()?;
        while self.takes(';') {
            value = self.expression()?;
        }
        self.expects(')')?;
        Ok(value)
    }

    fn object(&mut self) -> Result<usize, String> {
        let mut all = 2;
        while !self.takes('}') {
            all += self.expression()? + 2;
            self.expects(':')?;
            all += self.expression()?;
            self.takes(',');
        }
        Ok(all)
    }

    /// A call, behind its opening bracket.
    fn call(&mut self, name: &str) -> Result<usize, String> {
        let mut arguments = Vec::new();
        while !self.takes(')') {
            let first = self.at;
            let value = if self.tokens.get(first) == Some(&Token::Regex) {
                self.at += 1;
                0
            } else {
                self.expression()?
            };
            arguments.push((first, value));
            self.takes(',');
        }
        let number = |index: usize| match arguments.get(index).map(|(first, _)| &self.tokens[*first]) {
            Some(Token::Number(number)) => Some(number.value),
            _ => None,
        };
        let value = arguments.first().map_or(0, |(_, value)| *value);
        match (name, arguments.len()) {
            ("exists" | "not", 1) => Ok(BOOLEAN),
            ("string", 1) => Ok(value),
            ("substring", 3) => number(2).map_or(Ok(value), |most| Ok(value.min(self.unit.of(most) + 2))),
            // A part of the text; what of it is picked is shorter still.
            ("match", 2 | 3) => Ok(value),
            // JSONata refuses a match of nothing, so there are no more matches than characters.
            ("replace", 3) => Ok(value * arguments[2].1.max(1)),
            _ => match self.locals.get(name).cloned() {
                Some(Local::Function(parameter, body)) => self.called(parameter, body, value),
                _ => Err(format!("nobody knows how large ${name}(...) gets")),
            },
        }
    }

    fn called(&self, parameter: String, body: usize, argument: usize) -> Result<usize, String> {
        let locals = [(parameter, Local::Value(argument))].into();
        let mut reader = Reader { tokens: self.tokens, at: body, unit: self.unit, reference: self.reference, locals };
        reader.expects('{')?;
        let value = reader.expression()?;
        reader.expects('}').map(|()| value)
    }
}

#[test]
fn lengths_are_those_of_the_longest_way() {
    let reference = |name: &str| if name.starts_with("long") { Ok(1000) } else { Err(name.to_owned()) };
    let longest = |text: &str| longest(text, Unit::Characters, &reference);
    for (text, length) in [
        ("'abc' & 'de'", 5),
        ("$exists($long) ? 'a' : 'bcd'", 3),
        ("$substring($long, 0, 7)", 9),
        ("$long & '; done'", 1006),
        ("$replace($long, /[\\\\\"]+/, 'ab')", 2000),
        ("$replace($long, /\\s+/, '')", 1000),
        ("( $twice := function($text) {( $text & $text )}; $twice($long) & $twice('x') )", 2002),
        ("$match($long, /\"a\\/(b)\"/, 1).groups[0]", 1000),
        ("$not($exists($long.x)) and 1 = 2", 5),
    ] {
        assert_eq!(longest(text), Ok(length), "{text}");
    }
    for unknown in ["$other", "$pad('x', 300)", "'open", "$long $long", "($long"] {
        assert!(longest(unknown).is_err(), "{unknown}");
    }
}
