//! Wire formats: reading and writing what is said most.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavina_codecs::irc::framer::{Frame, Framer as Lines};
use lavina_codecs::irc::message::Line;
use lavina_codecs::irc::write::LineWriter;
use lavina_codecs::xmpp::framer::{Framer, XmlLimits};
use lavina_codecs::xmpp::writer::Writer;
use lavina_codecs::xmpp::xml::Scope;
use std::hint::black_box;

const TEXT: &str =
    "the quick brown fox jumps over the lazy dog, and a hundred bytes are reached with a few words more";

fn irc(c: &mut Criterion) {
    let mut group = c.benchmark_group("irc");
    let line = format!("@label=17;+draft/reply=AbC :alice!alice@example.org PRIVMSG #lobby :{TEXT}");
    group.throughput(Throughput::Bytes(line.len() as u64));
    group.bench_function("parse", |b| {
        b.iter(|| Line::parse(black_box(line.as_bytes())).unwrap().params.len())
    });
    let stream = format!("{line}\r\n").repeat(10);
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("cut ten lines", |b| {
        b.iter(|| {
            let (mut framer, mut at, mut lines) = (Lines::default(), 0, 0);
            while let Frame::Line(_, used) = framer.next(black_box(&stream.as_bytes()[at..])) {
                (at, lines) = (at + used, lines + 1);
            }
            assert_eq!(lines, 10);
        });
    });
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(1));
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            LineWriter::new(&mut out)
                .tag("time", "2026-11-22T12:00:00.000Z")
                .tag("msgid", "AAAAAAAAAAAAAAAAAA")
                .source_user("alice", "alice", "example.org")
                .command("PRIVMSG")
                .param("#lobby")
                .last(black_box(TEXT));
            out.len()
        });
    });
    group.finish();
}

fn xmpp(c: &mut Criterion) {
    let mut group = c.benchmark_group("xmpp");
    let stanza = format!(
        "<message to='lobby@rooms.example.org' type='groupchat' id='a1'><body>{TEXT}</body>\
         <origin-id xmlns='urn:xmpp:sid:0' id='a1'/><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    );
    let limits = XmlLimits::MEMBER;
    let stream = stanza.repeat(10);
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("cut ten stanzas", |b| {
        b.iter(|| {
            let (mut framer, mut at, mut units) = (Framer::between(limits), 0, 0);
            while let Ok(Some(unit)) = framer.next(black_box(&stream.as_bytes()[at..])) {
                (at, units) = (at + unit.len, units + 1);
            }
            assert_eq!(units, 10);
        });
    });
    let scope = Scope::usual();
    group.throughput(Throughput::Bytes(stanza.len() as u64));
    group.bench_function("parse", |b| {
        b.iter(|| scope.parse(black_box(stanza.as_bytes()), &limits).unwrap().children.len());
    });
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(1));
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            let mut w = Writer::in_stream(&mut out);
            w.start("message").attr("from", "lobby@rooms.example.org/alice").attr("type", "groupchat");
            w.attr("id", "a1").attr_hole("to");
            w.leaf("body", black_box(TEXT));
            w.start_ns("stanza-id", "urn:xmpp:sid:0").attr("id", "AAAAAAAAAAAAAAAAAA");
            w.attr("by", "lobby@rooms.example.org").end().end();
            out.len()
        });
    });
    let element = scope.parse(stanza.as_bytes(), &limits).unwrap();
    group.bench_function("write a tree", |b| b.iter(|| black_box(&element).to_xml("jabber:client").len()));
    group.finish();
}

criterion_group!(benches, irc, xmpp);
criterion_main!(benches);
