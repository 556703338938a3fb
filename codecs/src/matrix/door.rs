//! From the connection to the agents: requests under `/_matrix` and what well-known documents say of Matrix.

use super::agent::Taken;
use super::request::{Cancelled, Parts, Request, Response};
use super::route::{Place, Route};
use crate::http::session::{Http, Request as HttpRequest, Ticket};
use crate::http::status::Status;
use crate::session::Cx;
use lavina_core::ids::Origin;
use lavina_core::projection::Parcel;
use lavina_core::text::Str;

/// Hands a request to the agent whose it is; its answer is the response.
pub fn serve(http: &mut Http, request: HttpRequest, ticket: Ticket, cx: &mut Cx<'_>) {
    let mut request = taken(request, cx);
    match Route::place(&mut request, cx) {
        Place::Refused(error) => http.respond(ticket, error.response(), cx),
        Place::Agent(account, label) => {
            let req = cx.hand(account, label.clone(), Parcel::new(Taken::Request(request)));
            let session = cx.session();
            http.when_answered(
                req,
                ticket,
                |http, ticket, parcel, cx| {
                    let response = parcel.and_then(Parcel::open::<Response>).map(|r| *r);
                    let busy = || Response::text(Status::SERVICE_UNAVAILABLE, "too busy; try again soon");
                    http.respond(ticket, response.unwrap_or_else(busy), cx);
                },
                move |cx| {
                    let gone = Cancelled(Origin { session, req });
                    cx.tell(account, label, Parcel::new(Taken::Cancelled(gone)));
                },
            );
        }
    }
}

/// The request as the agents take it.
fn taken(request: HttpRequest, cx: &Cx<'_>) -> Request {
    let head = &request.head;
    let query: Vec<(Str, Str)> =
        head.target.parameters().map(|(name, value)| (Str::new(name), Str::new(value))).collect();
    // The query's token is for old clients only, which is said and still done (client-server API, "Using access tokens").
    let in_query = || query.iter().find(|(name, _)| *name == "access_token").map(|(_, value)| value.clone());
    let token = match head.header("authorization") {
        Some(_) => Some(Str::new(head.bearer().unwrap_or_default())),
        None => in_query(),
    };
    let base = Some(Str::new(request.base(cx.settings())));
    Request::from(Parts {
        method: head.method,
        path: head.target.segments().map(Str::new).collect(),
        token,
        content_type: head.content_type().map(Str::new),
        query,
        peer: request.peer,
        base,
        route: None,
        args: Vec::new(),
        body: request.body,
    })
}
