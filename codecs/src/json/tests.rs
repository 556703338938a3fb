#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn text(value: &Json) -> String {
    String::from_utf8(value.to_bytes()).unwrap()
}

#[track_caller]
fn reads(input: &str, output: &str) {
    assert_eq!(text(&Json::parse(input.as_bytes()).unwrap()), output, "{input}");
}

#[test]
fn what_is_legal() {
    reads(
        " { \"b\" : [ 1 , -2, true,false , null ] , \"a\":\"\" } ",
        r#"{"a":"","b":[1,-2,true,false,null]}"#,
    );
    reads(
        r#""\u00e9\/\"\\\b\f\n\r\t\u0000\u001F\uD83D\uDE00""#,
        "\"é/\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f😀\"",
    );
    reads("[]", "[]");
    reads("{}", "{}");
    reads("9223372036854775807", "9223372036854775807");
}

#[test]
fn numbers() {
    let number = |s: &str| Json::parse(s.as_bytes()).unwrap();
    assert_eq!(number("0"), Json::Int(0));
    assert_eq!(number("-9223372036854775808"), Json::Int(i64::MIN));
    assert_eq!(number("9223372036854775808"), Json::Float(9_223_372_036_854_775_808.0));
    assert_eq!(number("1.0"), Json::Float(1.0));
    assert_eq!(number("1e2"), Json::Float(100.0));
    assert_eq!(text(&number("1E+2")), "100.0");
    assert_eq!(text(&number("-0")), "-0.0");
    assert_eq!(text(&number("1e300")), "1e300");
}

#[test]
fn what_is_refused_and_why() {
    for (input, wrong) in [
        ("", Wrong::End),
        ("[1", Wrong::End),
        ("\"a", Wrong::End),
        ("{\"a\":1,}", Wrong::Character),
        ("[1,]", Wrong::Character),
        ("[1 2]", Wrong::Character),
        ("{1:2}", Wrong::Character),
        ("{\"a\" 2}", Wrong::Character),
        ("nul", Wrong::End),
        ("nulx", Wrong::Character),
        ("NaN", Wrong::Character),
        ("'a'", Wrong::Character),
        ("01", Wrong::Number),
        ("-", Wrong::Number),
        ("1.", Wrong::Number),
        (".1", Wrong::Character),
        ("1e", Wrong::Number),
        ("1e999", Wrong::Number),
        ("\"\n\"", Wrong::Control),
        ("\"\0\"", Wrong::Control),
        (r#""\x""#, Wrong::Escape),
        (r#""\u12g4""#, Wrong::Escape),
        (r#""\ud800""#, Wrong::Surrogate),
        (r#""\udc00""#, Wrong::Surrogate),
        (r#""\ud800\u0041""#, Wrong::Surrogate),
        (r#"{"a":1,"b":2,"\u0061":3}"#, Wrong::Duplicate),
        ("1 1", Wrong::Trailing),
        ("\u{feff}1", Wrong::Character),
    ] {
        assert_eq!(Json::parse(input.as_bytes()).map_err(|e| e.wrong), Err(wrong), "{input}");
    }
    assert_eq!(Json::parse(b"[\"\xff\"]"), Err(JsonError { at: 2, wrong: Wrong::Utf8 }));
    assert_eq!(Json::parse(b"[1,x]").unwrap_err().to_string(), "unexpected character at byte 3");
}

#[test]
fn depth_has_a_limit() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(Json::parse(deep(DEPTH).as_bytes()).is_ok());
    assert_eq!(Json::parse(deep(DEPTH + 1).as_bytes()).map_err(|e| e.wrong), Err(Wrong::Depth));
    assert_eq!(Json::parse("[".repeat(1_000_000).as_bytes()).map_err(|e| e.wrong), Err(Wrong::Depth));
    assert!(Json::parse_within(b"1", 0).is_ok());
    assert!(Json::parse_within(b"{}", 0).is_err());
}

/// The examples of the Matrix specification (appendices, "Canonical JSON").
#[test]
fn canonical_json_by_the_examples_of_the_specification() {
    for (input, output) in [
        ("{}", "{}"),
        ("{\"one\": 1, \"two\": \"Two\"}", "{\"one\":1,\"two\":\"Two\"}"),
        ("{\"b\": \"2\", \"a\": \"1\"}", "{\"a\":\"1\",\"b\":\"2\"}"),
        (
            "{\"auth\": {\"success\": true, \"mxid\": \"@john.doe:example.com\", \"profile\": {\"display_name\": \
             \"John Doe\", \"three_pids\": [{\"medium\": \"email\", \"address\": \"john.doe@example.org\"}, \
             {\"medium\": \"msisdn\", \"address\": \"123456789\"}]}}}",
            "{\"auth\":{\"mxid\":\"@john.doe:example.com\",\"profile\":{\"display_name\":\"John Doe\",\
             \"three_pids\":[{\"address\":\"john.doe@example.org\",\"medium\":\"email\"},{\"address\":\"123456789\",\
             \"medium\":\"msisdn\"}]},\"success\":true}}",
        ),
        ("{\"a\": \"日本語\"}", "{\"a\":\"日本語\"}"),
        ("{\"本\": 2, \"日\": 1}", "{\"日\":1,\"本\":2}"),
        ("{\"a\": \"\\u65E5\"}", "{\"a\":\"日\"}"),
        ("{\"a\": null}", "{\"a\":null}"),
    ] {
        let canonical = Json::parse(input.as_bytes()).unwrap().canonical().unwrap();
        assert_eq!(String::from_utf8(canonical).unwrap(), output);
        assert!(Json::is_canonical(output.as_bytes()));
        assert_eq!(Json::is_canonical(input.as_bytes()), input == output);
    }
    // Above the basic plane the order by code point is not that of UTF-16.
    assert!(Json::is_canonical("{\"\u{ffff}\":1,\"\u{10000}\":2}".as_bytes()));
    for bad in ["1.0", "-0", "1e3", "9007199254740992", "-9007199254740992", "[{\"a\":1.5}]"] {
        assert_eq!(Json::parse(bad.as_bytes()).unwrap().canonical(), Err(NotCanonical), "{bad}");
    }
    assert!(Json::is_canonical(b"9007199254740991"));
    assert!(!Json::is_canonical(b"\"\\u001F\"") && Json::is_canonical(b"\"\\u001f\""));
}

#[test]
fn values_are_looked_up() {
    let value = Json::parse(br#"{"info":{"size":3,"m.x":{"y":"z"}},"l":[1],"t":true}"#).unwrap();
    assert_eq!(value.int_at("info.size"), Some(3));
    assert_eq!(value.at(&["info", "m.x", "y"]).and_then(Json::as_str), Some("z"));
    assert_eq!(value.str_at("info.size"), None);
    assert_eq!(value.str_at("info.none.more"), None);
    assert_eq!(value.get("l").and_then(Json::as_array).map(<[Json]>::len), Some(1));
    assert_eq!(value.get("t").and_then(Json::as_bool), Some(true));
}

#[test]
fn objects_are_built() {
    let mut value = object! { "b" => 1, "a" => ["x", "y"], "b" => true, String::from("c") => object! {} };
    assert_eq!(text(&value), r#"{"a":["x","y"],"b":true,"c":{}}"#);
    value.set("aa", 7u32);
    assert_eq!(value.take("c"), Some(Json::object()));
    assert_eq!(value.take("c"), None);
    assert_eq!(text(&value), r#"{"a":["x","y"],"aa":7,"b":true}"#);
}

#[test]
fn large_objects_cost_little() {
    let pairs: Vec<String> = (0..200_000).rev().map(|n| format!("\"{n}\":0")).collect();
    let input = format!("{{{}}}", pairs.join(","));
    assert_eq!(Json::parse(input.as_bytes()).unwrap().as_object().unwrap().len(), 200_000);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Json::Float),
        ".{0,30}".prop_map(Json::from),
        "[\\x00-\\x20\"\\\\]{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Json::Array),
            proptest::collection::vec((".{0,4}", inner), 0..6)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in any_json()) {
        let bytes = value.to_bytes();
        prop_assert_eq!(Json::parse(&bytes), Ok(value.clone()));
        prop_assert_eq!(Json::is_canonical(&bytes), value.check_canonical().is_ok());
    }

    #[test]
    fn any_text_is_read_or_refused(input in "[\\[\\]{}:,\"\\\\0-9eE.+\\-u tdnulfas]{0,40}") {
        if let Ok(value) = Json::parse(input.as_bytes()) {
            prop_assert_eq!(Json::parse(&value.to_bytes()), Ok(value));
        }
    }
}
