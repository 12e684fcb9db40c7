//! The appliance: the only file that names every protocol. It binds everything, and then starts everything.
//!
//! A failure to bind is reported before anything runs. Shutdown is one token that every task hears; the engine stops
//! last, so that what the edges still had to say is journaled.
//!
//! Absent on purpose: any decision.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::boot::answer::Services;
use crate::boot::http::{self, Authority, Bounds, HttpContext, HttpOptions, ImageFile, ImageFiles, Tls};
use crate::boot::loaders::LoaderFiles;
use crate::boot::offer::Offers;
use crate::boot::radv;
use crate::boot::script::{BootSettings, KernelArgumentError};
use crate::boot::tftp;
use crate::boot::{dhcp, dhcp6};
use crate::config::appliance::{Dhcpv6, RouterAdvertisements};
use crate::config::module::{BmcTrust, OutsideModule};
use crate::config::{Appliance, Start};
use crate::engine::Engine;
use crate::journal::{Journal, JournalError};
use crate::layer::store::{Store, StoreError};
use crate::model::limits::ACTIONS_PER_MODULE_MAX;
use crate::model::{BmcSpec, NodeSet, Schema};
use crate::module::card::{BmcAccess, Keyholder};
use crate::module::process::Command;
use crate::module::status::Roster;
use crate::module::{self, ExternalModule, Program, guard};
use crate::plan::{Graph, GraphError, Mutation};
use crate::port::{FactFeed, FactSender, Module, ModuleContext, StateReader, fact_channel};
use crate::power::PowerModule;
use crate::power::vault::{Vault, VaultError};
use crate::state::{Node, State};
use crate::sync::identity::firmware::BootTls;
use crate::sync::identity::{Identity, IdentityError};
use crate::{api, sync};

/// Sets the log's levels, for instance `debug` or `info,bootes::boot=debug`.
const LOG_VARIABLE: &str = "BOOTES_LOG";
/// The lock's file in the state directory.
const LOCK_FILE: &str = "lock";
/// Open files that are asked for, where the hard limit allows as many.
const OPEN_FILES_WANTED: u64 = 65_536;
/// How long tasks may take to end; then the process ends without them.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// Why the appliance cannot start.
#[derive(Debug, Error)]
enum ServeError {
    #[error("{0}")]
    Config(#[from] crate::config::ConfigError),
    #[error("the state directory {} cannot be used: {source}; make it writable for the appliance", path.display())]
    StateDir { path: PathBuf, source: io::Error },
    #[error("another appliance uses the state directory {}; stop that one first, or give this one a directory of its own", path.display())]
    Locked { path: PathBuf },
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Argument(#[from] KernelArgumentError),
    #[error(transparent)]
    Dhcp(#[from] dhcp::DhcpError),
    #[error(transparent)]
    Tftp(#[from] tftp::TftpError),
    #[error(transparent)]
    Loaders(#[from] tftp::RootsError),
    #[error(transparent)]
    Http(#[from] http::HttpError),
    #[error(transparent)]
    Agents(#[from] sync::BindError),
    #[error(transparent)]
    Api(#[from] api::ApiError),
    #[error("the program's run time could not be started: {0}")]
    Runtime(io::Error),
}

/// Runs the appliance until it is told to stop.
#[must_use]
pub fn run(config: &Path, start: Start) -> ExitCode {
    match start_with(config, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bootes serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start_with(config: &Path, start: Start) -> Result<(), ServeError> {
    let mut config = Appliance::read(config)?;
    if start == Start::Frozen {
        config.engine.start = start;
    }
    start_log();
    make_state_dir(&config.state_dir)?;
    let _lock = lock(&config.state_dir)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Runtime)?;
    let ended = runtime.block_on(appliance(config));
    // A request to a BMC or a file read may still be under way; nothing that it would tell is waited for.
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    ended
}

/// One line a record on the standard error, at the level of [`LOG_VARIABLE`].
fn start_log() {
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let asked = std::env::var(LOG_VARIABLE).ok();
    let levels = asked.as_deref().and_then(|text| text.parse::<Targets>().ok());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let fallback = || Targets::new().with_default(tracing::Level::INFO);
    tracing_subscriber::registry().with(lines).with(levels.unwrap_or_else(fallback)).init();
}

fn make_state_dir(path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::StateDir { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// Two appliances on one journal would each undo the other's work.
fn lock(state_dir: &Path) -> Result<Flock<File>, ServeError> {
    let path = state_dir.join(LOCK_FILE);
    let failed = |source| ServeError::StateDir { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| ServeError::Locked { path: state_dir.to_owned() })
}

/// Every transfer and every session is an open file; the usual soft limit of 1,024 is for other times.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES_WANTED), hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised; many machines at once may be refused");
    }
}

/// Everything that listens, bound and not yet running.
struct Bound {
    api: api::Bound,
    dhcp: dhcp::Bound,
    dhcp6: Vec<dhcp6::Bound>,
    radv: Vec<radv::Bound>,
    tftp: Vec<tftp::Bound>,
    http: http::Bound,
    agents: sync::SyncModule,
}

async fn appliance(config: Appliance) -> Result<(), ServeError> {
    let vault = Arc::new(Vault::open(&config.state_dir)?);
    let identity = Arc::new(Identity::open(&config.state_dir)?);
    let store = Store::open(&config.images_store)?;
    let settings = Arc::new(boot_settings(&config, &identity)?);
    let graph = config.engine.switch_off(Graph::build(all_mutations(), &Schema::default())?);
    let server6 = dhcp6::server_duid(authority_of(&identity));
    let bound = bind(&config, &settings, identity).await?;

    let journal = Journal::open_with(&config.state_dir, config.journal)?;
    let policy = config.engine.policy();
    let mut engine = Engine::replay(journal, graph.clone(), policy.clone())?;
    if config.engine.start == Start::Frozen {
        engine.start_frozen();
    }
    let (facts, receiver) = fact_channel();
    let state = StateReader(engine.snapshots());
    look_at_passwords(&vault, &state.now());
    let feed = FactFeed(engine.feed());
    let journal_health = engine.journal_health();
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let (power, power_handle) = PowerModule::new(vault.clone(), config.power_poll);
    let edges = Edges { facts: facts.clone(), state: state.clone(), shutdown: shutdown.clone() };
    let roster = Roster::default();
    let mut modules: Vec<Box<dyn Module>> = vec![Box::new(power), Box::new(bound.agents)];
    for module in &config.modules {
        modules.push(Box::new(ExternalModule::new(program(module, &vault), graph.clone(), roster.clone())));
    }
    let configured = config.modules.iter().map(|module| module.name.clone()).collect();
    tasks.spawn(module::forget_others(configured, facts.clone(), state.clone()));
    for module in modules {
        let (actions, context) = edges.module();
        engine.add_module(&module.name(), actions);
        module.start(context, &mut tasks);
    }
    let services = Services { tftp: tftp_address(&config), http: config.http_listen };
    tasks.spawn(bound.dhcp.run(facts.clone(), state.clone(), services, shutdown.clone()));
    for radv in bound.radv {
        tasks.spawn(radv.run(state.clone(), shutdown.clone()));
    }
    for dhcp6 in bound.dhcp6 {
        let server = (server6.clone(), services6(&config));
        tasks.spawn(dhcp6.run(facts.clone(), state.clone(), server, shutdown.clone()));
    }
    let loaders = Arc::new(tftp::Roots::new([config.boot.loaders.clone()])?);
    let offers = Arc::new(Offers::new(settings.clone()));
    let loaders = Arc::new(LoaderFiles::new(offers.clone(), loaders, state.clone(), facts.clone()));
    let report = Arc::new(tftp::report::reporter(facts.clone(), state.clone()));
    for tftp in bound.tftp {
        let report = report.clone();
        tasks.spawn(tftp.run(loaders.clone(), move |event| report(event), shutdown.clone()));
    }
    let context = HttpContext { facts: facts.clone(), state: state.clone(), images: Arc::new(Images(store)) };
    tasks.spawn(bound.http.run(context, shutdown.clone()));
    let context = api::Context {
        facts,
        state,
        feed,
        power: power_handle,
        vault,
        graph,
        policy,
        roster,
        boot: api::BootServices { offers, services },
        image_store: config.images_store.clone(),
        state_dir: config.state_dir.clone(),
        journal_health,
    };
    tasks.spawn(bound.api.run(context, shutdown.clone()));

    let engine_shutdown = CancellationToken::new();
    let engine_thread = run_engine(engine, receiver, engine_shutdown.clone())?;
    tracing::info!(config = %config.state_dir.display(), "the appliance serves");
    wait_for_stop().await;
    tracing::info!("the appliance stops");
    shutdown.cancel();
    let ended = tokio::time::timeout(SHUTDOWN_WAIT, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    engine_shutdown.cancel();
    // The engine has journaled what it got when its thread ends; a panic in it has been reported already.
    let _ = tokio::task::spawn_blocking(move || engine_thread.join()).await;
    Ok(())
}

/// The engine blocks on the disk, so it has a thread of its own.
fn run_engine(
    engine: Engine,
    facts: crate::port::FactReceiver,
    shutdown: CancellationToken,
) -> Result<std::thread::JoinHandle<()>, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(ServeError::Runtime)?;
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(move || runtime.block_on(engine.run(facts, shutdown)))
        .map_err(ServeError::Runtime)
}

/// A module from outside as it is run.
fn program(module: &OutsideModule, vault: &Arc<Vault>) -> Program {
    let folder = std::path::absolute(&module.folder).unwrap_or_else(|_| module.folder.clone());
    let command = Command { words: module.command.clone(), folder, guard: PathBuf::from(guard::THIS_BINARY) };
    let bmc = match module.bmc {
        BmcTrust::Trusted => BmcAccess::Given(Arc::new(Keys(vault.clone()))),
        BmcTrust::Untrusted => BmcAccess::Withheld,
    };
    Program { name: module.name.clone(), command, config: module.config.clone(), bmc, start: module.start }
}

/// Says at once when BMC passwords were sealed under another key, rather than at the first night without power control.
fn look_at_passwords(vault: &Vault, state: &State) {
    let locked =
        |node: &&Arc<Node>| node.spec.bmc.as_ref().is_some_and(|bmc| vault.open_sealed(&bmc.password).is_err());
    let names = NodeSet::fold(state.nodes.values().filter(locked).map(|node| node.spec.name.as_str()));
    if !names.is_empty() {
        tracing::error!(
            nodes = names,
            "the BMC passwords of these nodes were sealed under another key than vault.key; put the old vault.key back and restart, or apply the cluster's description again"
        );
    }
}

/// The vault as modules from outside see it.
struct Keys(Arc<Vault>);

impl Keyholder for Keys {
    fn password(&self, bmc: &BmcSpec) -> Result<Zeroizing<String>, String> {
        let secret = self.0.open_sealed(&bmc.password).map_err(|error| error.to_string())?;
        secret.reveal().ok_or_else(|| "the BMC's password is not text; set another one".to_owned())
    }
}

/// What every edge is given.
struct Edges {
    facts: FactSender,
    state: StateReader,
    shutdown: CancellationToken,
}

impl Edges {
    fn module(&self) -> (mpsc::Sender<crate::port::Action>, ModuleContext) {
        let (sender, actions) = mpsc::channel(ACTIONS_PER_MODULE_MAX);
        let (facts, state, shutdown) = (self.facts.clone(), self.state.clone(), self.shutdown.clone());
        (sender, ModuleContext { facts, state, actions, shutdown })
    }
}

fn all_mutations() -> Vec<Mutation> {
    [crate::power::mutations::mutations(), crate::boot::mutations::mutations(), sync::mutations::mutations()].concat()
}

async fn bind(config: &Appliance, settings: &Arc<BootSettings>, identity: Arc<Identity>) -> Result<Bound, ServeError> {
    let api = api::bind(api_options(config), identity.clone()).await?;
    tracing::info!(listen = %api.local_addr(), fingerprint = %api.fingerprint(), "the API listens");
    let dhcp = dhcp::bind(&dhcp::ServerOptions { interfaces: config.dhcp_interfaces.clone() })?;
    let tftp = iter::once(&config.tftp_listen).chain(&config.tftp_also);
    let tftp = tftp.map(|listen| tftp::bind(*listen, tftp::ServerOptions::default())).collect::<Result<_, _>>()?;
    let http = http::bind(http_options(config, settings, &identity)?)?;
    let ms = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    let agents = &config.agents;
    let timing = sync::Timing { hello_interval_ms: ms(agents.hello_ms), dead_interval_ms: ms(agents.dead_ms) };
    let agents = sync::bind(&[config.agents.listen], &[], identity, timing)?;
    let (radv, dhcp6) = (bind_radv(config), bind_dhcp6(config));
    Ok(Bound { api, dhcp, dhcp6, radv, tftp, http, agents })
}

fn http_options(
    config: &Appliance,
    settings: &Arc<BootSettings>,
    identity: &Identity,
) -> Result<HttpOptions, IdentityError> {
    let mut options = HttpOptions::new(config.http_listen, settings.clone());
    options.listen.extend(&config.http.also);
    let http = &config.http;
    options.images = Bounds { transfers_max: http.images_at_once, queue_max: http.images_waiting };
    let mut authority = Authority { own_der: identity.ca_certificate().to_vec().into(), rsa_der: None };
    if !http.tls_listen.is_empty() {
        let own = options.listen.iter().chain(&http.tls_listen).flat_map(|listen| reached_at(listen.ip()));
        let own: BTreeSet<IpAddr> = own.collect();
        let own: Vec<IpAddr> = own.into_iter().collect();
        let BootTls { config, authorities: [_, rsa] } = identity.boot_server(&config.state_dir, &own)?;
        authority.rsa_der = Some(rsa.to_vec().into());
        options.tls = Some(Tls { listen: http.tls_listen.clone(), config });
    }
    options.authority = Some(authority);
    Ok(options)
}

/// The addresses at which what listens at `address` is reached: all of the machine's, where it listens at any.
fn reached_at(address: IpAddr) -> Vec<IpAddr> {
    if !address.is_unspecified() {
        return vec![address];
    }
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or(address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.filter(|own| own.is_ipv4() == address.is_ipv4()).collect()
}

/// Without these machines boot all the same, only later: where IPv6 is switched off they cannot be had, and that is
/// no reason not to start.
fn bind_radv(config: &Appliance) -> Vec<radv::Bound> {
    let mut bound = Vec::new();
    if config.router_advertisements == RouterAdvertisements::Off {
        return bound;
    }
    for interface in &config.dhcp_interfaces {
        match radv::bind(interface) {
            Ok(radv) => bound.push(radv),
            Err(error) => tracing::warn!(%error, "machines may wait for an IPv6 router"),
        }
    }
    bound
}

/// As with advertisements: where IPv6 is switched off on an interface, machines boot over IPv4.
fn bind_dhcp6(config: &Appliance) -> Vec<dhcp6::Bound> {
    if config.dhcpv6 == Dhcpv6::Off {
        return Vec::new();
    }
    let bind = |interface: &String| {
        let bound = dhcp6::bind(interface);
        bound.inspect_err(|error| tracing::warn!(%error, "machines are not answered over IPv6")).ok()
    };
    config.dhcp_interfaces.iter().filter_map(bind).collect()
}

fn services6(config: &Appliance) -> dhcp6::Services6 {
    fn first<'a>(listen: impl IntoIterator<Item = &'a SocketAddr>) -> Option<SocketAddrV6> {
        listen.into_iter().find_map(|listen| match listen {
            SocketAddr::V6(listen) => Some(*listen),
            SocketAddr::V4(_) => None,
        })
    }
    let tftp = first(iter::once(&config.tftp_listen).chain(&config.tftp_also));
    let http = first(iter::once(&config.http_listen).chain(&config.http.also));
    dhcp6::Services6 { tftp: tftp.map(|listen| *listen.ip()), http }
}

/// The first bytes of the digest of the cluster's authority.
fn authority_of(identity: &Identity) -> [u8; 16] {
    let (mut bytes, hex) = ([0; 16], identity.ca_digest().hex());
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| {
            let digit = char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            (byte << 4) | digit.unwrap_or_default()
        });
    }
    bytes
}

fn api_options(config: &Appliance) -> api::Options {
    let own = config.api.certificate.clone();
    let own = own.map(|(certificate, key)| api::certificate::OwnCertificate { certificate, key });
    let names = config.api.names.clone();
    let certificate = api::certificate::Source { state_dir: config.state_dir.clone(), own, names };
    api::Options { listen: config.api.listen, socket: config.api.socket.clone(), certificate }
}

fn boot_settings(config: &Appliance, identity: &Identity) -> Result<BootSettings, ServeError> {
    let extra: Result<_, KernelArgumentError> = config.boot.arguments.iter().map(|word| word.parse()).collect();
    Ok(BootSettings {
        http: config.http_listen,
        agents: vec![config.agents.listen],
        ca: identity.ca_digest(),
        console: Some(config.boot.console.parse()?),
        extra_arguments: extra?,
        kernel: config.boot.layer0.join("vmlinuz"),
        initramfs: config.boot.layer0.join("initramfs"),
        loaders: config.boot.loaders.clone(),
        files: config.boot.files.clone(),
        templates: config.boot.templates.clone(),
    })
}

fn tftp_address(config: &Appliance) -> Ipv4Addr {
    match config.tftp_listen.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The image store as HTTP boot sees it.
struct Images(Store);

impl ImageFiles for Images {
    fn path(&self, file: ImageFile) -> Option<PathBuf> {
        match file {
            ImageFile::Manifest(image) => Some(self.0.manifest_path(&image)),
            ImageFile::Blob(image) => Some(self.0.blob_path(&image)),
        }
    }
}

async fn wait_for_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        // Where the signal cannot be heard there is only the other one.
        _ = tokio::signal::ctrl_c() => {}
    }
}
