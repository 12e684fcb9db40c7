//! One request and its answer.
//!
//! Invariants: a script goes to the address of the node that it is for and to no other, and only after the digest of its
//! token is durable, so that a join with this token is known to be good, also after a crash. Every refusal is one line of
//! text and a fact. A machine that is no node has a script of its own, on the same terms.
//!
//! Deliberately absent: what makes a part, a condition or a route (`reply`, `route`), and what is told when (`facts`).

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
    VARY,
};
use hyper::{Request, Response, StatusCode};

use super::body::AnswerBody;
use super::desk::Desk;
use super::encoding;
use super::facts::{self, Asked, Telling};
use super::files::{FileFault, Form, Opened};
use super::reply::{Fields, Method, Reply, decide};
use super::route::{AuthorityForm, ImageFile, Route, route};
use super::ticket::{Line, Ticket};
use crate::boot::chain::{Kind, Reader};
use crate::boot::offer::{OfferError, file_of, new_token};
use crate::boot::script::{JoinToken, machine_script};
use crate::boot::target::{Handed, TargetFile};
use crate::fact::{BootFile, Fact, MachineEvent, MachineFact};
use crate::model::Mac;
use crate::state::State;

/// When a client that cannot be served now is to ask again, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// One request's surroundings.
pub(super) struct Exchange {
    desk: Arc<Desk>,
    line: Line,
    client: IpAddr,
    method: Method,
    began_ms: u64,
}

/// Why a request is not granted.
struct Refusal {
    status: StatusCode,
    /// What the client is told, in one line.
    told: &'static str,
    /// What the operator is told.
    reason: String,
}

impl Refusal {
    fn new(status: StatusCode, told: &'static str, reason: impl Into<String>) -> Self {
        Refusal { status, told, reason: reason.into() }
    }
}

/// Answers one request.
pub(super) async fn answer(desk: Arc<Desk>, line: Line, client: IpAddr, request: Request<()>) -> Response<AnswerBody> {
    let began_ms = desk.now_ms();
    let path = request.uri().path();
    let route = route(path);
    let asked = Asked::new(&desk.state.now(), client, path, route.as_ref());
    let method = Method::named(request.method().as_str());
    let exchange = Exchange { desk, line, client, method: method.unwrap_or(Method::Get), began_ms };
    let answered = match (method, &route) {
        (None, _) => {
            let reason = format!("the method {} is not served; use GET or HEAD", request.method());
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served", reason))
        }
        (_, None) => Err(Refusal::new(StatusCode::NOT_FOUND, "nothing is served here", "the path leads nowhere")),
        (_, Some(Route::Script(mac))) => exchange.script(*mac, Reader::Ipxe(Kind::Bios), &asked).await,
        (_, Some(Route::Grub(mac))) => exchange.script(*mac, Reader::Grub, &asked).await,
        (_, Some(Route::Target(mac, file))) => exchange.target(*mac, *file, &asked, request.headers()).await,
        (_, Some(Route::Metadata(token, name))) => exchange.metadata(token, name, &asked).await,
        (_, Some(route)) => exchange.file(route, &asked, request.headers()).await,
    };
    answered.unwrap_or_else(|refusal| exchange.refuse(&asked, refusal))
}

impl Exchange {
    async fn script(&self, mac: Mac, reader: Reader, asked: &Asked) -> Result<Response<AnswerBody>, Refusal> {
        let state = self.desk.state.now();
        let no_node = "no node has this hardware address; describe it and apply";
        let Some(node) = state.node_with_mac(mac) else {
            return match reader {
                Reader::Ipxe(_) => self.machine_script(&state, mac).await,
                // Nothing leads an unknown machine to GRUB.
                Reader::Grub => Err(Refusal::new(StatusCode::NOT_FOUND, no_node, no_node)),
            };
        };
        if self.client != IpAddr::V4(node.spec.ip) {
            let reason = format!("the script of {} is given to {} alone", node.spec.name, node.spec.ip);
            return Err(Refusal::new(StatusCode::FORBIDDEN, "the script is another machine's", reason));
        }
        let broken = |reason: String| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the script cannot be made; the appliance knows why",
                reason,
            )
        };
        if !self.desk.may_have_script(self.client) {
            return Ok(self.later("too many scripts were asked for"));
        }
        let (desk, id) = (Arc::clone(&self.desk), node.id);
        let made = self.desk.disk.read(move || {
            let state = desk.state.now();
            state.node(id).map(|node| desk.offers.hand(&state, node, reader))
        });
        let handed = made.await.map_err(|error| broken(error.to_string()))?;
        let handed = handed.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, no_node, no_node))?;
        let Handed { text, file } = handed.map_err(|error| broken(error.to_string()))?;
        let length_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let asked = Asked { file, ..asked.clone() };
        let mut ticket = None;
        if self.method == Method::Get {
            if let Err(error) = self.desk.facts.submit(vec![asked.sent(length_bytes, 0)]).await {
                tracing::warn!(%error, node = %node.spec.name, "a boot script is withheld, its token could not be recorded");
                return Ok(self.later("the appliance cannot record the boot now"));
            }
            ticket = Some(self.ticket(asked, Telling::Nothing));
        }
        Ok(self.script_text(text, ticket))
    }

    /// The script of a machine that is no node and has an address of a discovery range: it leads to layer 0, where the
    /// machine reports itself and waits.
    async fn machine_script(&self, state: &State, mac: Mac) -> Result<Response<AnswerBody>, Refusal> {
        let no_node = "no node has this hardware address; describe it and apply";
        let missing = || Refusal::new(StatusCode::NOT_FOUND, no_node, no_node);
        let machine = state.unknown.get(&mac).ok_or_else(missing)?;
        let lease = machine.lease.as_ref().ok_or_else(missing)?;
        if self.client != IpAddr::V4(lease.ip) {
            let reason = format!("the script of the unknown machine {mac} is given to {} alone", lease.ip);
            return Err(Refusal::new(StatusCode::FORBIDDEN, "the script is another machine's", reason));
        }
        let network = state.network_of_machine(machine).and_then(|network| state.networks.get(network));
        let network = network.ok_or_else(missing)?;
        if !self.desk.may_have_script(self.client) {
            return Ok(self.later("too many scripts were asked for"));
        }
        let broken = |reason: String| {
            let told = "the script cannot be made; the appliance knows why";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, told, reason)
        };
        let token = new_token().map_err(|error| broken(error.to_string()))?;
        let made = machine_script(mac, lease.ip, network, self.desk.offers.settings(), &token);
        let text = made.map_err(|error| broken(error.to_string()))?;
        if self.method == Method::Get {
            let event = MachineEvent::ScriptSent { token: token.digest() };
            let sent = Fact::Machine(MachineFact { mac, peer: self.client, event });
            if let Err(error) = self.desk.facts.submit(vec![sent]).await {
                tracing::warn!(%error, %mac, "an unknown machine's script is withheld, its token could not be recorded");
                return Ok(self.later("the appliance cannot record the boot now"));
            }
        }
        Ok(self.script_text(text, None))
    }

    fn script_text(&self, text: String, ticket: Option<Ticket>) -> Response<AnswerBody> {
        let mut response = self.respond(StatusCode::OK, Opened::text(text).into(), None, ticket);
        set(response.headers_mut(), CONTENT_TYPE, "text/plain; charset=utf-8");
        set(response.headers_mut(), CACHE_CONTROL, "no-store");
        response
    }

    /// A file of the target that the node boots now.
    async fn target(
        &self,
        mac: Mac,
        file: TargetFile,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let state = self.desk.state.now();
        let absent = |reason: String| Refusal::new(StatusCode::NOT_FOUND, "there is no such file", reason);
        let node = state.node_with_mac(mac);
        let node = node.ok_or_else(|| absent("no node has this hardware address; describe it and apply".to_owned()))?;
        let (name, ..) = file_of(&state, node, file).map_err(|error| absent(error.to_string()))?;
        self.file(&Route::BootFile(name), asked, headers).await
    }

    /// A file of a boot's metadata, or the machine's word that its target is done.
    async fn metadata(&self, token: &JoinToken, name: &str, asked: &Asked) -> Result<Response<AnswerBody>, Refusal> {
        if !self.desk.may_have_script(self.client) {
            return Ok(self.later("too much was asked for"));
        }
        let (desk, client, token, name) = (Arc::clone(&self.desk), self.client, token.clone(), name.to_owned());
        let made = self.desk.disk.read(move || desk.offers.metadata(&desk.state.now(), client, &token, &name)).await;
        let broken = |reason: String| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be made; the appliance knows why", reason)
        };
        let made = made.map_err(|error| broken(error.to_string()))?.map_err(|error| match error {
            OfferError::NoSuchMetadata { .. } => {
                Refusal::new(StatusCode::NOT_FOUND, "there is no such file", error.to_string())
            }
            OfferError::NotANode { .. } | OfferError::WrongToken { .. } => {
                Refusal::new(StatusCode::FORBIDDEN, "this token is not good here", error.to_string())
            }
            other => broken(other.to_string()),
        })?;
        let mut telling = Telling::File;
        let mut asked = asked.clone();
        if let (Some(then), Method::Get) = (made.done, self.method) {
            asked.file = BootFile::TargetDone { target: made.target, then };
            telling = Telling::Nothing;
            if let Err(error) = self.desk.facts.submit(vec![asked.sent(0, 0)]).await {
                tracing::warn!(%error, "a machine's word that it is done could not be recorded");
                return Ok(self.later("the appliance cannot record it now"));
            }
        }
        let ticket = (self.method == Method::Get).then(|| self.ticket(asked, telling));
        let mut response = self.respond(StatusCode::OK, Opened::text(made.text).into(), None, ticket);
        set(response.headers_mut(), CONTENT_TYPE, "text/plain; charset=utf-8");
        set(response.headers_mut(), CACHE_CONTROL, "no-store");
        Ok(response)
    }

    async fn file(&self, route: &Route, asked: &Asked, headers: &HeaderMap) -> Result<Response<AnswerBody>, Refusal> {
        let [accepted, range, if_range, if_match, if_none_match] =
            [ACCEPT_ENCODING, RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH].map(|name| joined(headers, &name));
        let (desk, wanted) = (Arc::clone(&self.desk), route.clone());
        let accepted = encoding::accepted(accepted.as_deref());
        let opened = self.desk.disk.read(move || desk.library.open(&wanted, &accepted)).await;
        let opened = opened.unwrap_or_else(|error| Err(FileFault::Unreadable { reason: error.to_string() }));
        let Form { opened, encoding } = opened.map_err(|fault| match fault {
            FileFault::Absent { reason } => Refusal::new(StatusCode::NOT_FOUND, "there is no such file", reason),
            FileFault::Unreadable { reason } => {
                tracing::warn!(name = asked.name, reason, "a served file cannot be read");
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read", reason)
            }
        })?;
        // Two compressors make two files of one image, so only the image itself is known by its digest.
        let etag = match (route, encoding) {
            (Route::Image(file), None) => file.etag(),
            _ => opened.etag().to_owned(),
        };
        let length_bytes = opened.length_bytes();
        let fields = Fields {
            range: range.as_deref(),
            if_range: if_range.as_deref(),
            if_match: if_match.as_deref(),
            if_none_match: if_none_match.as_deref(),
        };
        let reply = decide(self.method, fields, length_bytes, &etag);
        let (status, span, content_range) = match reply {
            Reply::Whole => (StatusCode::OK, Some((0, length_bytes)), None),
            Reply::Partial(part) => {
                let field = format!("bytes {}-{}/{length_bytes}", part.first, part.last);
                (StatusCode::PARTIAL_CONTENT, Some((part.first, part.last.saturating_add(1))), Some(field))
            }
            Reply::NotModified => (StatusCode::NOT_MODIFIED, None, None),
            Reply::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, None, None),
            Reply::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, None, Some(format!("bytes */{length_bytes}"))),
        };
        let mut place = None;
        if let (Method::Get, Route::Image(ImageFile::Blob(_)), Some(_)) = (self.method, route, span) {
            match self.desk.gate.enter(self.client).await {
                Ok(given) => place = Some(given),
                Err(busy) => {
                    self.desk.tell_sent_away(self.client);
                    return Ok(self.later_in(busy.retry_after_s, "too many images are on their way"));
                }
            }
        }
        let ticket = match (self.method, span) {
            (Method::Get, Some(_)) => Some(self.ticket(asked.clone(), facts::telling(route, reply, length_bytes))),
            _ => None,
        };
        let mut response = self.respond(status, opened, Some(span.unwrap_or((0, 0))), ticket);
        if let Some(place) = place {
            response = response.map(|body| body.in_place(place));
        }
        let fields = response.headers_mut();
        if let Some(encoding) = encoding {
            set(fields, CONTENT_ENCODING, encoding.name());
        }
        // Also of the file as it is: whoever keeps copies must not give one form to a client that asked for another.
        set(fields, VARY, ACCEPT_ENCODING.as_str());
        set(fields, ETAG, &etag);
        set(fields, ACCEPT_RANGES, "bytes");
        set(fields, CONTENT_TYPE, content_type(route));
        if let Some(content_range) = content_range {
            set(fields, CONTENT_RANGE, &content_range);
        }
        Ok(response)
    }

    fn ticket(&self, asked: Asked, telling: Telling) -> Ticket {
        Ticket::new(&self.desk, &self.line, asked, telling, self.began_ms)
    }

    /// `span` is the first byte and the one behind the last; without one all of it is sent.
    fn respond(
        &self,
        status: StatusCode,
        opened: Arc<Opened>,
        span: Option<(u64, u64)>,
        ticket: Option<Ticket>,
    ) -> Response<AnswerBody> {
        let (first, end) = span.unwrap_or((0, opened.length_bytes()));
        let length_bytes = end.saturating_sub(first);
        // The length is what GET would send; HEAD sends nothing of it (RFC 9110, section 9.3.2).
        let sent = if self.method == Method::Head { (0, 0) } else { (first, end) };
        let mut response = Response::new(AnswerBody::new(opened, sent, ticket));
        *response.status_mut() = status;
        if status != StatusCode::NOT_MODIFIED {
            set(response.headers_mut(), CONTENT_LENGTH, &length_bytes.to_string());
        }
        response
    }

    fn text(&self, status: StatusCode, line: &str) -> Response<AnswerBody> {
        let mut response = self.respond(status, Opened::text(format!("{line}\n")).into(), None, None);
        set(response.headers_mut(), CONTENT_TYPE, "text/plain; charset=utf-8");
        response
    }

    fn later(&self, line: &str) -> Response<AnswerBody> {
        self.later_in(RETRY_AFTER_S, line)
    }

    fn later_in(&self, seconds: u32, line: &str) -> Response<AnswerBody> {
        let mut response = self.text(StatusCode::SERVICE_UNAVAILABLE, line);
        set(response.headers_mut(), RETRY_AFTER, &seconds.to_string());
        response
    }

    fn refuse(&self, asked: &Asked, refusal: Refusal) -> Response<AnswerBody> {
        self.desk.tell_refused(asked, refusal.reason);
        let mut response = self.text(refusal.status, refusal.told);
        if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            set(response.headers_mut(), ALLOW, Method::ALLOWED);
        }
        response
    }
}

/// A text and nothing else.
pub(super) fn plain_text(status: StatusCode, opened: Arc<Opened>) -> Response<AnswerBody> {
    let length_bytes = opened.length_bytes();
    let mut response = Response::new(AnswerBody::new(opened, (0, length_bytes), None));
    *response.status_mut() = status;
    set(response.headers_mut(), CONTENT_LENGTH, &length_bytes.to_string());
    set(response.headers_mut(), CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

/// UEFI takes a file for a boot program by this type, or by the end of its name (UEFI 2.10, section 24.7.3.1).
fn content_type(route: &Route) -> &'static str {
    match route {
        Route::Loader(name) if name.ends_with(".efi") => "application/efi",
        Route::Image(ImageFile::Manifest(_)) => "application/json",
        Route::Authority(AuthorityForm::Pem) => "application/x-pem-file",
        Route::Authority(AuthorityForm::Der | AuthorityForm::RsaDer) => "application/pkix-cert",
        _ => "application/octet-stream",
    }
}

/// The values of a field joined by commas, as if they had come in one (RFC 9110, section 5.3); nothing when it is absent.
/// A value that is no text stands for itself as one that matches nothing.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Every value here is made of visible ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
