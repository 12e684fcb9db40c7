//! The index against texts as depmod writes them, and the loader against a tree that a test made.

use proptest::prelude::*;

use super::index::{File as ModuleFile, matches};
use super::*;

fn texts() -> Texts {
    Texts {
        dep: "kernel/net/core/failover.ko:\n\
              kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n\
              kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko\n\
              kernel/drivers/net/ethernet/realtek/r8169.ko: kernel/drivers/net/phy/libphy.ko\n\
              kernel/drivers/net/phy/libphy.ko:\n\
              kernel/drivers/net/phy/realtek.ko: kernel/drivers/net/phy/libphy.ko\n\
              kernel/fs/snd-a.ko: kernel/fs/snd-b.ko\n\
              kernel/fs/snd-b.ko: kernel/fs/snd-a.ko\n\
              no colon here\n"
            .to_owned(),
        alias: "# Aliases extracted from modules themselves.\n\
                alias virtio:d00000001v* virtio_net\n\
                alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\n\
                alias pci:v000010ECd0000816[1-5]sv*sd*bc*sc*i* other\n\
                alias dmi*:svnQEMU*:pnStandard* quirk\n\
                alias fs_squashfs squashfs\n\
                broken\n"
            .to_owned(),
        softdep: "# Soft dependencies\nsoftdep r8169 pre: realtek post: later\n".to_owned(),
        builtin: "kernel/lib/crc32c-generic.ko\n".to_owned(),
    }
}

fn paths(found: Found<'_>) -> Vec<&str> {
    match found {
        Found::Files(files) => files.into_iter().map(|file| file.path.rsplit('/').next().unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_module_needs_is_loaded_before_it_and_once() {
    let texts = texts();
    let index = Index::parse(&texts);
    assert_eq!(paths(index.find("virtio-net")), ["failover.ko", "net_failover.ko", "virtio_net.ko.xz"]);
}

#[test]
fn a_soft_dependency_goes_first_and_what_comes_after_is_left_out() {
    let texts = texts();
    assert_eq!(paths(Index::parse(&texts).find("r8169")), ["libphy.ko", "realtek.ko", "r8169.ko"]);
}

#[test]
fn modules_that_need_each_other_end() {
    let texts = texts();
    assert_eq!(paths(Index::parse(&texts).find("snd_a")), ["snd-b.ko", "snd-a.ko"]);
}

#[test]
fn built_in_and_unknown_modules_are_told_apart() {
    let texts = texts();
    let index = Index::parse(&texts);
    assert_eq!(index.find("crc32c_generic"), Found::BuiltIn);
    assert_eq!(index.find("nonesuch"), Found::Unknown);
}

#[test]
fn the_form_of_a_file_is_told_by_its_name() {
    let texts = texts();
    let Found::Files(files) = Index::parse(&texts).find("virtio_net") else { panic!() };
    assert_eq!(
        files.iter().map(|ModuleFile { form, .. }| *form).collect::<Vec<_>>(),
        [Form::Plain, Form::Plain, Form::Compressed]
    );
}

#[test]
fn a_device_asks_by_its_modalias() {
    let texts = texts();
    let index = Index::parse(&texts);
    assert_eq!(index.wanted_by("virtio:d00000001v00001AF4"), ["virtio_net"]);
    assert_eq!(index.wanted_by("pci:v000010ECd00008168sv00001849sd00008168bc02sc00i00"), ["r8169"]);
    assert_eq!(index.wanted_by("pci:v000010ECd00008163sv00001849sd00008168bc02sc00i00"), ["other"]);
    assert_eq!(index.wanted_by("dmi:bvnSeaBIOS:svnQEMU:pnStandardPC:"), ["quirk"]);
    assert_eq!(index.wanted_by("fs-squashfs"), ["squashfs"]);
    assert!(index.wanted_by("usb:v1234").is_empty());
}

#[test]
fn patterns_match_as_a_shell_does() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("*", "", true),
        ("?", "", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b", "abc", false),
        ("[0-9a]x", "ax", true),
        ("[!0-9]x", "1x", false),
        ("[", "[", false),
        ("*[ab]", "xxb", true),
        ("a_b", "a-b", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_module_that_is_loaded_already_or_not_shipped_does_not_stop_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let mut modules = Modules::new(root.path()).unwrap();
    fs::create_dir_all(&modules.directory).unwrap();
    fs::write(modules.directory.join("modules.dep"), texts().dep).unwrap();
    fs::write(modules.directory.join("modules.alias"), texts().alias).unwrap();
    fs::create_dir_all(root.path().join("sys/module/failover")).unwrap();
    fs::write(root.path().join("sys/module/failover/initstate"), "live\n").unwrap();
    let device = root.path().join("sys/bus/virtio/devices/virtio0");
    fs::create_dir_all(&device).unwrap();
    fs::write(device.join("modalias"), "virtio:d00000001v00001AF4\n").unwrap();
    let report = modules.cold_plug().unwrap();
    let failure = |module: &str| Failure { module: module.to_owned(), errno: Errno::ENOENT };
    assert_eq!(report.failed, [failure("net_failover"), failure("virtio_net")]);
    assert_eq!((report.loaded.len(), report.rounds), (0, 1));
    assert_eq!(modules.hot_plug(["virtio:d00000001v00001AF4".to_owned()]).unwrap(), Report::default());
}

#[test]
fn a_kernel_without_modules_loads_none() {
    let root = tempfile::tempdir().unwrap();
    assert!(Modules::new(root.path()).unwrap().cold_plug().unwrap().loaded.is_empty());
}

#[test]
fn only_the_kernels_own_call_is_a_helper_request() {
    let arguments = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(helper_request(&arguments(&["/sbin/modprobe", "-q", "--", "fs-vfat"])), Some("fs-vfat"));
    assert_eq!(helper_request(&arguments(&["/init", "fs-vfat"])), None);
    assert_eq!(helper_request(&arguments(&["/sbin/modprobe"])), None);
}

proptest! {
    #[test]
    fn a_pattern_without_wildcards_matches_itself_alone(text in "[a-z0-9:]{0,20}", other in "[a-z0-9:]{0,20}") {
        prop_assert!(matches(&text, &text));
        prop_assert_eq!(matches(&text, &other), text == other);
    }

    #[test]
    fn any_pattern_and_text_end(pattern in "[ab*?\\[\\]!^-]{0,24}", text in "[ab-]{0,40}") {
        let _ = matches(&pattern, &text);
    }

    #[test]
    fn any_index_is_parsed(dep in "\\PC{0,200}", alias in "(alias )?\\PC{0,200}", name in "\\PC{0,10}") {
        let texts = Texts { softdep: alias.clone(), builtin: dep.clone(), dep, alias };
        let index = Index::parse(&texts);
        let _ = (index.find(&name), index.wanted_by(&name));
    }
}
