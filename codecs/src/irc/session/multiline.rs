//! draft/multiline (IRCv3): one message of several lines, sent and received as a batch.
//!
//! In a message's own wire form a line break is `\n`, and `\r` marks where the next line goes on without one
//! (`draft/multiline-concat`).

use super::super::cap::Cap;
use super::super::command::Verb;
use super::super::limits::{MULTILINE_BYTES, MULTILINE_LINES};
use super::super::message::Line;
use super::super::render::MULTILINE;
use super::Irc;
use crate::session::Cx;

/// The tag of a line that continues the one before.
const CONCAT: &str = "draft/multiline-concat";

/// A batch of lines being received.
#[derive(Debug)]
pub(super) struct Multi {
    name: String,
    target: String,
    tags: String,
    label: Option<Box<str>>,
    verb: Option<Verb>,
    text: String,
    lines: usize,
    bytes: usize,
    /// What was wrong has been told; the rest is passed over.
    failed: bool,
}

impl Irc {
    pub(super) fn batch(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let reference = line.param(0);
        match (reference.strip_prefix('+'), reference.strip_prefix('-')) {
            (Some(name), _) if line.param(1) == MULTILINE && self.caps.has(Cap::Multiline) => {
                self.multi_begin(name, line, cx);
            }
            (Some(_), _) => {
                let text = "That type of batch is not supported";
                self.fail(cx, "BATCH", "UNKNOWN_TYPE", &[line.param(1)], text);
            }
            (_, Some(name)) if self.multi.as_ref().is_some_and(|m| m.name == name) => self.multi_end(cx),
            _ => self.fail(cx, "BATCH", "INVALID_REFTAG", &[reference], "There is no such batch"),
        }
    }

    fn multi_begin(&mut self, name: &str, line: &Line<'_>, cx: &mut Cx<'_>) {
        if self.multi.take().is_some() {
            return self.multi_fail("MULTILINE_INVALID", &[], "Another batch was open", cx);
        }
        let target = line.param(2);
        if name.is_empty() || target.is_empty() || target.contains(',') {
            let text = "A multiline batch is for one target";
            return self.multi_fail("MULTILINE_INVALID_TARGET", &[], text, cx);
        }
        // The label answers the whole, at its end.
        let label = self.take_label();
        self.multi = Some(Box::new(Multi {
            name: name.to_owned(),
            target: target.to_owned(),
            tags: if self.caps.has(Cap::MessageTags) {
                line.client_tags().into_owned()
            } else {
                String::new()
            },
            label,
            verb: None,
            text: String::new(),
            lines: 0,
            bytes: 0,
            failed: false,
        }));
    }

    /// A message with a batch tag. True: it is taken care of.
    pub(super) fn multi_line(&mut self, verb: Verb, line: &Line<'_>, cx: &mut Cx<'_>) -> bool {
        let Some(batch) = line.tag("batch") else { return false };
        let Some(multi) = &mut self.multi else {
            self.multi_fail("MULTILINE_INVALID", &[], "There is no such batch", cx);
            return true;
        };
        if multi.failed {
            return true;
        }
        let (concat, text) = (line.tag(CONCAT).is_some(), line.param(1));
        let opened = multi.target.clone();
        let (lines, bytes) =
            (multi.lines + 1, multi.bytes + text.len() + usize::from(!concat && multi.lines > 0));
        if *batch != *multi.name || verb == Verb::Tagmsg || multi.verb.is_some_and(|v| v != verb) {
            self.multi_fail("MULTILINE_INVALID", &[], "That does not belong into the batch", cx);
        } else if line.param(0) != opened {
            let text = "A multiline batch is for one target";
            self.multi_fail("MULTILINE_INVALID_TARGET", &[&opened, line.param(0)], text, cx);
        } else if concat && text.is_empty() {
            self.multi_fail("MULTILINE_INVALID", &[], "A line that continues another cannot be blank", cx);
        } else if lines > MULTILINE_LINES {
            let limit = MULTILINE_LINES.to_string();
            self.multi_fail("MULTILINE_MAX_LINES", &[&limit], "Too many lines", cx);
        } else if bytes > MULTILINE_BYTES {
            let limit = MULTILINE_BYTES.to_string();
            self.multi_fail("MULTILINE_MAX_BYTES", &[&limit], "The message is too long", cx);
        } else {
            if multi.lines > 0 {
                multi.text.push(if concat { '\r' } else { '\n' });
            }
            multi.text.push_str(text);
            (multi.verb, multi.lines, multi.bytes) = (Some(verb), lines, bytes);
        }
        true
    }

    /// The batch is complete.
    fn multi_end(&mut self, cx: &mut Cx<'_>) {
        let Some(multi) = self.multi.take().filter(|m| !m.failed) else { return };
        self.give_label(multi.label);
        let Some(verb) = multi.verb.filter(|_| !multi.text.chars().all(|c| matches!(c, '\n' | '\r'))) else {
            return self.multi_fail("MULTILINE_INVALID", &[], "A message without text", cx);
        };
        self.say(verb, &multi.target, &multi.text, multi.tags.into(), cx);
    }

    fn multi_fail(&mut self, code: &str, context: &[&str], text: &str, cx: &mut Cx<'_>) {
        if let Some(multi) = &mut self.multi {
            multi.failed = true;
        }
        self.fail(cx, "BATCH", code, context, text);
    }
}
