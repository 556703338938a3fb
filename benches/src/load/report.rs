//! What came of a run, as a table.

use super::{
    options::{Case, Options},
    run::Outcome,
};
use std::fmt::Write as _;

/// The table: a name, a value and its unit on each line.
pub fn text(o: &Options, out: &Outcome) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String, unit: &str| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name:<34} {value:>12} {unit}");
    };
    line("clients", o.clients.to_string(), "");
    line("coming in", format!("{:.2}", out.entry.as_secs_f64()), "s");
    let own = |n: usize| out.own[n].cpu.saturating_sub(out.own[n - 1].cpu);
    if let Some([before, here, after]) = out.server {
        let grown = here.memory.saturating_sub(before.memory) as f64;
        let came = here.cpu.saturating_sub(before.cpu) as f64 / 1e3;
        line("server CPU per client coming in", format!("{:.0}", came / o.clients as f64), "us");
        line("server memory before", before.memory.to_string(), "KiB");
        line("server memory, all there", here.memory.to_string(), "KiB");
        line("server memory at the end", after.memory.to_string(), "KiB");
        line("server memory per client", format!("{:.2}", grown / o.clients as f64), "KiB");
    }
    match o.case {
        Case::Accounts => return text,
        Case::Idle => {
            line("idle for", format!("{:.2}", out.took.as_secs_f64()), "s");
            if let Some([_, here, after]) = out.server {
                let cpu = after.cpu.saturating_sub(here.cpu) as f64 / 1e6;
                line("server CPU", format!("{cpu:.1}"), "ms");
                let at_end = after.memory.saturating_sub(out.server.map_or(0, |s| s[0].memory));
                line(
                    "server memory per client at the end",
                    format!("{:.2}", at_end as f64 / o.clients as f64),
                    "KiB",
                );
            }
        }
        Case::Room | Case::Pairs => {
            let took = out.took.as_secs_f64();
            line("messages", out.sent.to_string(), "");
            line("deliveries", out.delivered.to_string(), "");
            line("time", format!("{took:.3}"), "s");
            line("deliveries per second", format!("{:.0}", out.delivered as f64 / took), "1/s");
            line("latency, median", out.latency.per_mille(500).to_string(), "us");
            line("latency, 99 of 100 within", out.latency.per_mille(990).to_string(), "us");
            let each = out.delivered.max(1) as f64 * 1e3;
            if let Some([_, here, after]) = out.server {
                let cpu = after.cpu.saturating_sub(here.cpu) as f64;
                let (user, system) = (after.user - here.user, after.system - here.system);
                line("server CPU", format!("{:.1}", cpu / 1e6), "ms");
                let share = system as f64 * 100.0 / (user + system).max(1) as f64;
                line("of it, in the system", format!("{share:.0}"), "%");
                line("server CPU per delivery", format!("{:.3}", cpu / each), "us");
            }
            line("own CPU per delivery", format!("{:.3}", own(2) as f64 / each), "us");
        }
    }
    line("missing", out.missing.to_string(), "");
    line("doubled or out of order", out.disordered.to_string(), "");
    line("connections lost", out.lost.to_string(), "");
    text
}
