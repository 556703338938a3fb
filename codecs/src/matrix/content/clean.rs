//! Cleaning a content: whatever in it is HTML, and what older clients repeat of a message they reply to.

use super::{HTML, NEW_CONTENT, RELATES_TO};
use crate::json::{Json, Map};
use crate::matrix::html;

/// Keys whose strings are HTML, wherever they stand.
const HTML_KEYS: [&str; 3] = ["formatted_body", "m.html", "org.matrix.msc1767.html"];

/// Cleans a content.
pub(super) fn clean(content: &mut Json) {
    walk(content);
    let replies =
        content.at(&[RELATES_TO, "m.in_reply_to", "event_id"]).is_some_and(|id| id.as_str().is_some());
    let Json::Object(map) = content else { return };
    if replies {
        strip_reply(map);
    }
    if let Some(Json::Object(new)) = map.get_mut(NEW_CONTENT) {
        strip_reply(new);
    }
}

fn walk(value: &mut Json) {
    match value {
        Json::Array(members) => members.iter_mut().for_each(walk),
        Json::Object(map) => {
            let is_html = map.get("mimetype").and_then(Json::as_str) == Some("text/html");
            map.retain(|key, value| {
                match value {
                    Json::Str(s) if HTML_KEYS.contains(&key) || (is_html && key == "body") => {
                        *s = html::clean(s).into();
                    }
                    other => walk(other),
                }
                true
            });
        }
        _ => {}
    }
}

fn strip_reply(map: &mut Map) {
    if let Some(Json::Str(body)) = map.get_mut("body") {
        let stripped = without_fallback(body);
        if stripped.len() < body.len() {
            *body = stripped.into();
        }
    }
    // A reply that was nothing but the repetition has no HTML any more.
    if map.get("format").and_then(Json::as_str) == Some(HTML)
        && map.get("formatted_body").and_then(Json::as_str).is_some_and(|h| h.trim().is_empty())
    {
        map.remove("format");
        map.remove("formatted_body");
    }
}

/// The text without the quoted lines at its front, which older clients put there (client-server API, "Rich replies",
/// before v1.13). They name the author in the first line; a quotation that the sender wrote does not, and stays.
pub(super) fn without_fallback(body: &str) -> &str {
    let mut rest = body;
    // Again and again, so that cleaning twice changes nothing more.
    while rest.starts_with("> <@") || rest.starts_with("> * <@") {
        while rest.starts_with("> ") || rest.starts_with(">\n") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        }
        rest = rest.strip_prefix('\n').unwrap_or(rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    #[test]
    fn repetitions_go_and_quotations_stay() {
        assert_eq!(without_fallback("> <@a:x> one\n> two\n\nyes\n> no"), "yes\n> no");
        assert_eq!(without_fallback("> * <@a:x> waves\nyes"), "yes");
        assert_eq!(without_fallback("> <@a:x> one"), "");
        assert_eq!(without_fallback("> <@a:x> a\n\n> <@b:x> b\n\nc"), "c");
        assert_eq!(without_fallback("> one\n\nyes"), "> one\n\nyes");
    }

    #[test]
    fn all_html_is_cleaned_and_the_rest_stays() {
        let mut content = object! {
            "body" => "> <@a:x> q\n\n<b>",
            "format" => HTML,
            "formatted_body" => "<mx-reply>q</mx-reply><b onclick=x>y</b>",
            "m.relates_to" => object! { "m.in_reply_to" => object! { "event_id" => "$e" } },
            "m.message" => [object! { "mimetype" => "text/html", "body" => "<script>x</script>z" }],
            "m.new_content" => object! { "formatted_body" => "<i onload=x>n</i>", "body" => 3 },
            "org.example" => object! { "deep" => [1, 2] },
        };
        clean(&mut content);
        let expected = object! {
            "body" => "<b>",
            "format" => HTML,
            "formatted_body" => "<b>y</b>",
            "m.relates_to" => object! { "m.in_reply_to" => object! { "event_id" => "$e" } },
            "m.message" => [object! { "mimetype" => "text/html", "body" => "z" }],
            "m.new_content" => object! { "formatted_body" => "<i>n</i>", "body" => 3 },
            "org.example" => object! { "deep" => [1, 2] },
        };
        assert_eq!(content, expected);
    }

    #[test]
    fn a_reply_that_says_nothing_more_has_no_html() {
        let mut content = object! {
            "body" => "> <@a:x> q\n\nyes",
            "format" => HTML,
            "formatted_body" => "<mx-reply>q",
            "m.relates_to" => object! { "m.in_reply_to" => object! { "event_id" => "$e" } },
        };
        clean(&mut content);
        assert_eq!((content.str_of("body"), content.get("formatted_body")), (Some("yes"), None));
    }
}
