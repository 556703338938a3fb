//! Timers that are put off again and again.

use crate::session::Cx;
use lavina_core::time::Mono;

/// One of a session's timers. It is set anew only where it would ring too late, or has rung too early: to put it off
/// costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Late {
    due: Option<Mono>,
    set: Option<Mono>,
}

impl Late {
    /// It is due then, or not at all.
    pub fn put(&mut self, timer: u8, due: Option<Mono>, cx: &mut Cx<'_>) {
        if self.sets(due) {
            cx.timer(timer, due);
        }
    }

    /// It rings. True: it is due, which is told once.
    pub fn rings(&mut self, timer: u8, cx: &mut Cx<'_>) -> bool {
        let due = self.is_due(cx.now().mono);
        if !due {
            self.put(timer, self.due, cx);
        }
        due
    }

    fn sets(&mut self, due: Option<Mono>) -> bool {
        self.due = due;
        let earlier = due.is_some_and(|due| self.set.is_none_or(|set| due < set));
        if earlier {
            self.set = due;
        }
        earlier
    }

    fn is_due(&mut self, now: Mono) -> bool {
        self.set = None;
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_set_only_where_it_must_be() {
        let mut late = Late::default();
        assert!(late.sets(Some(Mono(10))), "the first");
        assert!(!late.sets(Some(Mono(20))), "it rings earlier");
        assert!(!late.is_due(Mono(10)), "it was put off");
        assert!(late.sets(late.due) && late.set == Some(Mono(20)));
        assert!(late.sets(Some(Mono(15))), "sooner than it would ring");
        assert!(late.is_due(Mono(15)) && !late.is_due(Mono(20)), "once");
        assert!(late.sets(Some(Mono(30))) && !late.sets(None));
        assert!(!late.is_due(Mono(30)) && !late.sets(late.due), "it is wanted no more");
    }
}
