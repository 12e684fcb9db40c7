//! `bootes firmware`: the network boot programs, where each comes from, and whether what lies on this machine is what it
//! should be. Asks no appliance: it looks at the machine that it runs on.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Shell;
use super::error::{CliError, Status, tell};
use super::output::FormatArgs;
use super::table::{Cell, Table, Tone};
use crate::model::Digest;
use crate::port::document::Items;

/// The list that is kept with the sources.
const SOURCES: &str = include_str!("../../firmware/sources.toml");
/// The largest program that is looked at, in bytes: several times what any loader has.
const PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the network boot programs: which firmware each serves, and where it comes from.
    List(FormatArgs),
    /// Look whether they are on this machine and are what they should be, with their SHA-256.
    Check(CheckArgs),
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The folder that the appliance serves them from; a program that is not there is looked for where its package puts it.
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/ipxe")]
    loaders: PathBuf,
    /// Only these programs; without one, all that some machine of this cluster's kind needs: those for x86-64.
    #[arg(value_name = "PROGRAM")]
    programs: Vec<String>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Program {
    name: String,
    package: String,
    path: PathBuf,
    architecture: String,
    kind: Kind,
    signed: String,
    firmware: String,
    transport: String,
    seen: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Code from its first byte.
    Bios,
    /// A PE file.
    Efi,
}

#[derive(Deserialize)]
struct Sources {
    program: Vec<Program>,
}

#[derive(Debug, Serialize)]
struct Checked {
    name: String,
    path: Option<PathBuf>,
    size_bytes: Option<u64>,
    digest: Option<String>,
    problem: Option<String>,
}

fn sources() -> Result<Vec<Program>, CliError> {
    let read: Result<Sources, _> = toml::from_str(SOURCES);
    read.map(|sources| sources.program).map_err(|error| {
        CliError::Usage(format!("the list of programs cannot be read ({error}): this build is at fault"))
    })
}

/// Lists or checks.
pub fn run(command: Command, shell: &mut Shell) -> Result<Status, CliError> {
    match command {
        Command::List(args) => list(&args, shell),
        Command::Check(args) => check(&args, shell),
    }
}

fn list(args: &FormatArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let items = sources()?;
    if let Some(format) = args.format.structured() {
        shell.out.document(format, &Items { items })?;
        return Ok(Status::Done);
    }
    let mut table = Table::new(&["PROGRAM", "FOR", "SIGNED BY", "TRANSPORT", "PACKAGE", "SERVES"]);
    for program in items {
        table.row([
            program.name.into(),
            program.architecture.into(),
            program.signed.into(),
            program.transport.into(),
            program.package.into(),
            program.firmware.into(),
        ]);
    }
    shell.out.table(&table)?;
    Ok(Status::Done)
}

fn check(args: &CheckArgs, shell: &mut Shell) -> Result<Status, CliError> {
    let all = sources()?;
    if let Some(unknown) = args.programs.iter().find(|name| all.iter().all(|program| program.name != **name)) {
        let known: Vec<&str> = all.iter().map(|program| program.name.as_str()).collect();
        let detail = format!("there is no boot program '{unknown}'; there are {}", known.join(", "));
        return Err(CliError::Usage(detail));
    }
    let asked = |program: &&Program| match args.programs.is_empty() {
        true => program.architecture == "x86_64",
        false => args.programs.contains(&program.name),
    };
    let checked: Vec<Checked> = all.iter().filter(asked).map(|program| look(program, &args.loaders)).collect();
    let bad = checked.iter().any(|one| one.problem.is_some());
    for (name, problem) in checked.iter().filter_map(|one| Some((&one.name, one.problem.as_ref()?))) {
        tell(&format!("{name}: {problem}"));
    }
    match args.format.format.structured() {
        Some(format) => shell.out.document(format, &Items { items: checked })?,
        None => {
            let mut table = Table::new(&["PROGRAM", ">BYTES", "SHA-256", "FILE"]);
            for one in checked {
                let name = match one.problem {
                    Some(_) => Cell::toned(&one.name, Tone::Bad),
                    None => one.name.into(),
                };
                let size = one.size_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
                let path = one.path.map_or_else(|| "-".to_owned(), |path| path.display().to_string());
                table.row([name, size.into(), one.digest.unwrap_or_else(|| "-".to_owned()).into(), path.into()]);
            }
            shell.out.table(&table)?;
        }
    }
    Ok(if bad { Status::Failed } else { Status::Done })
}

/// Looks at one program: in the folder that is served, then where its package puts it.
fn look(program: &Program, loaders: &Path) -> Checked {
    let name = program.name.clone();
    let found = [loaders.join(&program.name), program.path.clone()].into_iter().find(|path| path.exists());
    let Some(path) = found else {
        let problem = format!(
            "it is neither in {} nor at {}: install the package {}, or run firmware/refresh",
            loaders.display(),
            program.path.display(),
            program.package
        );
        return Checked { name, path: None, size_bytes: None, digest: None, problem: Some(problem) };
    };
    let size_bytes = fs::metadata(&path).ok().map(|metadata| metadata.len());
    if size_bytes.is_none_or(|bytes| bytes == 0 || bytes > PROGRAM_BYTES_MAX) {
        let problem = Some(format!("{} is empty or far too large: install {} again", path.display(), program.package));
        return Checked { name, path: Some(path), size_bytes, digest: None, problem };
    }
    match fs::read(&path) {
        Ok(bytes) => {
            let problem = wrong(program, &bytes).map(|what| format!("{}: install {} again", what, program.package));
            Checked { name, path: Some(path), size_bytes, digest: Some(Digest::of(&bytes).hex()), problem }
        }
        Err(error) => {
            let problem = Some(format!("{} cannot be read ({error}); check its mode", path.display()));
            Checked { name, path: Some(path), size_bytes, digest: None, problem }
        }
    }
}

/// An EFI program is a PE file for its processor, and carries a signature where it should; of a BIOS one nothing is known.
fn wrong(program: &Program, bytes: &[u8]) -> Option<String> {
    if program.kind == Kind::Bios {
        return None;
    }
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let header = u32_at(0x3c).and_then(|at| usize::try_from(at).ok());
    let header = header.filter(|at| bytes.get(*at..at.saturating_add(4)) == Some(b"PE\0\0"));
    let (Some(header), true) = (header, bytes.starts_with(b"MZ")) else {
        return Some("it is no EFI program".to_owned());
    };
    let wanted = if program.architecture == "aarch64" { 0xaa64 } else { 0x8664 };
    if u16_at(header.saturating_add(4)) != Some(wanted) {
        return Some(format!("it is no program for {}", program.architecture));
    }
    // PE32+: the fifth data directory is the attribute certificate table (PE format, section "Optional header").
    let signature = u32_at(header.saturating_add(24 + 112 + 4 * 8 + 4));
    (program.signed != "no" && signature.is_none_or(|length| length == 0)).then(|| "it is not signed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::firmware::{CATALOGUE, SIGNED};

    #[test]
    fn the_list_and_the_catalogue_name_the_same_programs() {
        let listed = sources().unwrap();
        for program in CATALOGUE.iter().chain(SIGNED) {
            let source = listed.iter().find(|source| source.name == program.file);
            let source = source.unwrap_or_else(|| panic!("{} is not in firmware/sources.toml", program.file));
            if let Some(packaged) = program.packaged {
                assert_eq!(source.path, Path::new(packaged), "{}", program.file);
            }
        }
    }

    #[test]
    fn a_program_that_is_missing_damaged_or_unsigned_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| {
            let found = sources().unwrap().into_iter().find(|program| program.name == name).unwrap();
            Program { path: folder.path().join("nowhere"), ..found }
        };
        let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        let problem = |name: &str| look(&program(name), folder.path()).problem.unwrap_or_default();
        assert!(problem("undionly.kpxe").contains("install the package ipxe"));
        put("undionly.kpxe", b"code");
        assert_eq!(problem("undionly.kpxe"), "");
        put("snponly.efi", b"no program");
        assert!(problem("snponly.efi").contains("no EFI program"));
        let mut efi = vec![0; 0x400];
        efi[..2].copy_from_slice(b"MZ");
        efi[0x3c] = 0x80;
        efi[0x80..0x84].copy_from_slice(b"PE\0\0");
        efi[0x84..0x86].copy_from_slice(&0x8664u16.to_le_bytes());
        put("snponly.efi", &efi);
        assert_eq!(problem("snponly.efi"), "");
        put("shimx64.efi", &efi);
        assert!(problem("shimx64.efi").contains("not signed"));
        put("grubaa64.efi", &efi);
        assert!(problem("grubaa64.efi").contains("aarch64"));
        efi[0x80 + 24 + 112 + 4 * 8 + 4] = 8;
        put("shimx64.efi", &efi);
        assert_eq!(problem("shimx64.efi"), "");
    }
}
