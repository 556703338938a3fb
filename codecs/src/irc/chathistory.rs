//! The parameters of CHATHISTORY (IRCv3 chathistory).

use super::limits::CHATHISTORY_MAX;
use super::stamp;

/// A point in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point<'a> {
    /// `*`: none.
    Open,
    /// `timestamp=`, in milliseconds since 1970.
    Time(u64),
    /// `msgid=`.
    Id(&'a str),
}

/// What is asked for. Points themselves are not part of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// The last messages before the point.
    Before(&'a str, Point<'a>),
    /// The first messages after the point.
    After(&'a str, Point<'a>),
    /// The newest messages, after the point if there is one.
    Latest(&'a str, Point<'a>),
    /// Messages on both sides of the point.
    Around(&'a str, Point<'a>),
    /// Messages between the points, counted from the first one, which may be the later one.
    Between(&'a str, Point<'a>, Point<'a>),
    /// Channels and dialogs whose latest message lies between two times, the earlier first.
    Targets(u64, u64),
}

impl<'a> Ask<'a> {
    /// The target; TARGETS has none.
    #[must_use]
    pub fn target(&self) -> Option<&'a str> {
        match self {
            Ask::Before(t, _)
            | Ask::After(t, _)
            | Ask::Latest(t, _)
            | Ask::Around(t, _)
            | Ask::Between(t, ..) => Some(t),
            Ask::Targets(..) => None,
        }
    }
}

/// Why it cannot be understood: the code of the standard reply, its context, and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad<'a> {
    /// `INVALID_PARAMS` or `INVALID_MSGREFTYPE`.
    pub code: &'static str,
    /// The parameters that the reply repeats.
    pub context: Vec<&'a str>,
    /// Words for people.
    pub text: &'static str,
}

/// Reads the parameters: what is asked for, and how much of it (at most [`CHATHISTORY_MAX`]).
///
/// # Errors
/// [`Bad`] says what to answer.
pub fn parse<'a>(params: &[&'a str]) -> Result<(Ask<'a>, u32), Bad<'a>> {
    let sub = params.first().copied().unwrap_or("*");
    let params = params.get(1..).unwrap_or_default();
    let upper = sub.to_ascii_uppercase();
    let want = match upper.as_str() {
        "BEFORE" | "AFTER" | "LATEST" | "AROUND" | "TARGETS" => 3,
        "BETWEEN" => 4,
        _ => return Err(bad(sub, "Unknown command")),
    };
    match params.len() {
        n if n < want => return Err(bad(sub, "Insufficient parameters")),
        n if n > want => return Err(bad(sub, "Too many parameters")),
        _ => {}
    }
    let at = |n: usize| params.get(n).copied().unwrap_or_default();
    let ask = match upper.as_str() {
        "BEFORE" => Ask::Before(at(0), point(sub, at(1), false)?),
        "AFTER" => Ask::After(at(0), point(sub, at(1), false)?),
        "LATEST" => Ask::Latest(at(0), point(sub, at(1), true)?),
        "AROUND" => Ask::Around(at(0), point(sub, at(1), false)?),
        "BETWEEN" => Ask::Between(at(0), point(sub, at(1), false)?, point(sub, at(2), false)?),
        _ => match (point(sub, at(0), false)?, point(sub, at(1), false)?) {
            (Point::Time(a), Point::Time(b)) => Ask::Targets(a.min(b), a.max(b)),
            _ => return Err(bad(sub, "TARGETS takes timestamps only")),
        },
    };
    let limit = at(want - 1).parse::<u32>().map_err(|_| bad(sub, "Invalid limit"))?;
    if limit == 0 {
        return Err(bad(sub, "Invalid limit"));
    }
    Ok((ask, limit.min(CHATHISTORY_MAX as u32)))
}

fn point<'a>(sub: &'a str, text: &'a str, open: bool) -> Result<Point<'a>, Bad<'a>> {
    if open && text == "*" {
        return Ok(Point::Open);
    }
    match text.split_once('=') {
        Some(("timestamp", time)) => stamp::read(time).map(Point::Time).ok_or(Bad {
            code: "INVALID_PARAMS",
            context: vec![sub, text],
            text: "Invalid timestamp",
        }),
        Some(("msgid", id)) if !id.is_empty() => Ok(Point::Id(id)),
        Some((_, rest)) if !rest.is_empty() => Err(Bad {
            code: "INVALID_MSGREFTYPE",
            context: vec![sub, text],
            text: "Only timestamp= and msgid= are supported",
        }),
        _ => Err(Bad { code: "INVALID_PARAMS", context: vec![sub, text], text: "Invalid message reference" }),
    }
}

fn bad<'a>(sub: &'a str, text: &'static str) -> Bad<'a> {
    Bad { code: "INVALID_PARAMS", context: vec![sub], text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(params: &[&str]) -> &'static str {
        parse(params).map_or_else(|bad| bad.code, |_| "")
    }

    #[test]
    fn good_ones() {
        assert_eq!(parse(&["latest", "#c", "*", "50"]), Ok((Ask::Latest("#c", Point::Open), 50)));
        assert_eq!(
            parse(&["BEFORE", "bob", "msgid=x", "5000"]),
            Ok((Ask::Before("bob", Point::Id("x")), 100))
        );
        assert_eq!(
            parse(&["TARGETS", "timestamp=1970-01-01T00:00:02Z", "timestamp=1970-01-01T00:00:01Z", "1"]),
            Ok((Ask::Targets(1000, 2000), 1))
        );
        let between = ["BETWEEN", "#c", "msgid=a", "timestamp=1970-01-01T00:00:01Z", "1"];
        assert_eq!(parse(&between), Ok((Ask::Between("#c", Point::Id("a"), Point::Time(1000)), 1)));
    }

    #[test]
    fn bad_ones() {
        for params in [
            &[][..],
            &["NOPE", "#c", "*", "1"],
            &["LATEST", "#c", "*"],
            &["LATEST", "#c", "*", "1", "2"],
            &["BEFORE", "#c", "*", "1"],
            &["BEFORE", "#c", "timestamp=soon", "1"],
            &["LATEST", "#c", "*", "x"],
            &["LATEST", "#c", "*", "0"],
            &["LATEST", "#c", "*", "-1"],
            &["TARGETS", "msgid=a", "msgid=b", "1"],
        ] {
            assert_eq!(code(params), "INVALID_PARAMS", "{params:?}");
        }
        assert_eq!(code(&["BEFORE", "#c", "pos=1", "1"]), "INVALID_MSGREFTYPE");
    }
}
