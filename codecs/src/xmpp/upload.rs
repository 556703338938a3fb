//! HTTP file upload (XEP-0363): the service `upload.` in front of the server's domain gives out permits and addresses; what
//! is behind them is [`crate::http::files`].

use crate::http::content::content_type;
use crate::http::files::{PERMIT_TIME, Permit, address};
use crate::session::Cx;
use crate::settings::Settings;
use crate::xmpp::address::UPLOAD;
use crate::xmpp::caps::{Identity, Info};
use crate::xmpp::disco::answer_info;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Field, Form};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use lavina_core::media::{MediaId, TEXT};
use lavina_core::query::{Query, Value};
use lavina_core::time::UnixMillis;

/// The address of the service; none where nothing serves what it would give out.
pub(super) fn service(settings: &Settings) -> Option<String> {
    settings.http.base.as_ref().map(|_| format!("{UPLOAD}{}", settings.core.domain))
}

/// What the service is (§3).
pub(super) fn info(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    if service(cx.settings()).is_none() {
        return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
    }
    if iq.payload().attr("node").is_some_and(|node| !node.is_empty()) {
        return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
    }
    let field = |var: &str, kind: &str, value: String| Field {
        var: var.into(),
        kind: kind.into(),
        values: vec![value],
    };
    let max = cx.core_settings().limits.media_size;
    let form = Form {
        kind: "result".into(),
        fields: vec![
            field("FORM_TYPE", "hidden", ns::UPLOAD.into()),
            field("max-file-size", "text-single", max.to_string()),
        ],
    };
    let info = Info {
        identities: vec![Identity::new("store", "file", "Files")],
        features: [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::UPLOAD, ns::PING].map(str::to_owned).to_vec(),
        forms: vec![form],
    };
    answer_info(session, &iq, &info, cx);
}

/// It has no items.
pub(super) fn items(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_result(&iq, cx, |w| {
        w.start_ns("query", ns::DISCO_ITEMS).end();
    });
}

/// What is to be uploaded.
struct Wish {
    name: String,
    size: u64,
    content_type: String,
}

impl Wish {
    /// Reads a request (§4); why it is none.
    fn read(iq: &Iq) -> Result<Wish, &'static str> {
        let request = iq.payload();
        let name = request.attr("filename").filter(|name| !name.is_empty()).ok_or("there is no file name")?;
        if name.len() > TEXT {
            return Err("the file name is too long");
        }
        // Dots alone would climb, as addresses are read.
        let name = if name.chars().all(|c| c == '.') { "file" } else { name };
        let size = request.attr("size").and_then(|size| size.parse().ok());
        let size = size.filter(|size| *size > 0).ok_or("there is no size")?;
        let said = request.attr("content-type").unwrap_or_default();
        let content_type = if said.is_empty() || said.len() > TEXT { "" } else { content_type(said) };
        Ok(Wish { name: name.to_owned(), size, content_type: content_type.to_owned() })
    }
}

/// Somebody wants to upload a file: he gets a slot if there is room for it.
pub(super) fn request(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    if iq.set || service(cx.settings()).is_none() {
        let condition =
            if iq.set { StanzaCondition::BadRequest } else { StanzaCondition::ServiceUnavailable };
        return session.iq_error(&iq, &condition.into(), cx);
    }
    let wish = match Wish::read(&iq) {
        Ok(wish) => wish,
        Err(why) => return session.iq_error(&iq, &StanzaError::new(StanzaCondition::BadRequest, why), cx),
    };
    let limits = cx.core_settings().limits;
    if wish.size > limits.media_size {
        let why = format!("a file may have {} bytes", limits.media_size);
        let error = StanzaError::new(StanzaCondition::NotAcceptable, why);
        let error = StanzaError { number: Some(("max-file-size", limits.media_size)), ..error };
        return session.iq_error(&iq, &error.detail("file-too-large", ns::UPLOAD), cx);
    }
    let Some(me) = cx.user().map(|me| me.id) else {
        return session.iq_error(&iq, &StanzaCondition::NotAuthorized.into(), cx);
    };
    session.ask(Query::Account(me), cx, move |session, reply, cx| {
        let account = match reply {
            Ok(Value::Account(account)) => account,
            Ok(_) => return session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
        };
        if account.uploaded().saturating_add(wish.size) > limits.media_bytes
            || account.media.len() >= limits.media
        {
            let why = "you have no room left for files";
            return session.iq_error(&iq, &StanzaError::new(StanzaCondition::ResourceConstraint, why), cx);
        }
        let permit = Permit {
            id: MediaId::fresh(cx.random(), cx.random()),
            name: wish.name,
            owner: me,
            size: wish.size,
            content_type: wish.content_type,
            until: UnixMillis(cx.now().wall.0 + PERMIT_TIME),
        };
        slot(session, &iq, &permit, cx);
    });
}

/// Gives out a slot (§4).
fn slot(session: &mut Xmpp, iq: &Iq, permit: &Permit, cx: &mut Cx<'_>) {
    let Some(url) = address(&cx.settings().http, permit.id, &permit.name) else {
        return session.iq_error(iq, &StanzaCondition::ServiceUnavailable.into(), cx);
    };
    let bearer = format!("Bearer {}", permit.token(&cx.core_settings().secret));
    session.iq_result(iq, cx, |w| {
        w.start_ns("slot", ns::UPLOAD);
        w.start("put").attr("url", &url);
        w.start("header").attr("name", "Authorization").text(&bearer).end().end();
        w.start("get").attr("url", &url).end().end();
    });
}
