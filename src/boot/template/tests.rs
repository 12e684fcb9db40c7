//! What a template sees, what it does not, and how its faults are told.

use super::*;
use crate::fact::{Fact, OperatorEvent, OperatorFact, Stamped};
use crate::model::{FactSeq, NetworkSpec, NodeId, NodeSpec, Sealed, UnixMs};

fn state(variables: BTreeMap<VarPath, Value>) -> (State, NodeId) {
    let id = NodeId(uuid::Uuid::from_u128(7));
    let spec = json!({
        "name": "n1", "network": "boot", "mac": "52:54:00:b0:07:01", "ip": "10.77.0.11", "pool": "compute",
        "labels": { "rack": "r1" },
    });
    let spec = NodeSpec { variables, ..serde_json::from_value(spec).unwrap() };
    let network = json!({ "name": "boot", "subnet": "10.77.0.0/24", "dns": ["10.77.0.1"], "lease_s": 600 });
    let network: NetworkSpec = serde_json::from_value(network).unwrap();
    let mut state = State::default();
    let events = [
        OperatorEvent::NetworkDescribed { spec: network },
        OperatorEvent::NodeDescribed { node: id, spec: Box::new(spec) },
    ];
    for (seq, event) in (1..).zip(events) {
        let fact = Fact::Operator(OperatorFact::from(event));
        state.apply(&Stamped { seq: FactSeq(seq), at: UnixMs(0), fact });
    }
    (state, id)
}

fn rendered(text: &str) -> Result<String, TemplateError> {
    let path = |text: &str| text.parse::<VarPath>().unwrap();
    let list = Value::List(vec![Value::Text("a".into()), Value::Text("b".into())]);
    let variables = BTreeMap::from([
        (path("site.rack"), Value::Text("r7".into())),
        (path("site.slots"), Value::Int(4)),
        (path("site.names"), list),
        (path("site"), Value::Text("oslo".into())),
        (path("site.key"), Value::Secret(Sealed(b"sealed".to_vec()))),
    ]);
    let (state, id) = state(variables);
    let place = Place {
        http: "10.77.0.1:8080".parse().unwrap(),
        more: BTreeMap::from([("metadata", "http://10.77.0.1:8080/metadata/x/".to_owned())]),
    };
    render(Template { name: "t", text }, state.node(id).unwrap(), &state, &place)
}

#[test]
fn a_template_sees_the_node_its_network_and_its_variables() {
    let text = "{{ node.name }} {{ node.mac }} {{ node.mac_hyphens }} {{ node.ip }}/{{ network.bits }} {{ node.pool }} \
                {{ node.labels.rack }} {{ network.dns | join(',') }} {{ node.variables.site.rack }} \
                {{ node.variables.site.slots + 1 }} {{ node.variables.site.value }} {{ http }} {{ server }} {{ metadata }}\n";
    assert_eq!(
        rendered(text).unwrap(),
        "n1 52:54:00:b0:07:01 52-54-00-b0-07-01 10.77.0.11/24 compute r1 10.77.0.1 r7 5 oslo 10.77.0.1:8080 10.77.0.1 \
         http://10.77.0.1:8080/metadata/x/\n"
    );
    let looped = "{% for name in node.variables.site.names %}[{{ name }}]{% endfor %}";
    assert_eq!(rendered(looped).unwrap(), "[a][b]");
}

#[test]
fn what_other_programs_expand_is_left_as_it_is() {
    let text = "#!ipxe\nkernel ${base}/vmlinuz <&\"'> ${net0/mac} || goto failed\n";
    assert_eq!(rendered(text).unwrap(), text);
}

#[test]
fn a_variable_that_is_not_there_is_refused_by_name_of_template_line_and_node() {
    for text in ["\n\n{{ node.nmae }}", "\n\n{{ network.router }}", "\n\n{% for x in nothing %}{% endfor %}"] {
        let error = rendered(text).unwrap_err();
        let TemplateError::Undefined { template, line, node, .. } = &error else { panic!("{error}") };
        assert_eq!((template.as_str(), *line, node.as_str()), ("t", 3, "n1"), "{text}");
    }
    assert_eq!(rendered("{{ network.router | default('none') }}").unwrap(), "none");
}

#[test]
fn a_fault_of_syntax_is_told_with_its_line() {
    for text in ["a\n{{ node.name", "a\n{% if %}", "a\n{% unheard of %}"] {
        assert!(matches!(rendered(text), Err(TemplateError::Syntax { line: 2, .. })), "{:?}", rendered(text));
    }
}

#[test]
fn a_secret_cannot_be_reached() {
    assert!(matches!(rendered("{{ node.variables.site.key }}"), Err(TemplateError::Undefined { .. })));
    let everything = rendered("{{ node }}{{ network }}").unwrap();
    assert!(!everything.contains("key") && !everything.contains("sealed"), "{everything}");
}

#[test]
fn no_template_reads_another_file_or_runs_for_ever() {
    assert!(rendered("{% include '/etc/passwd' %}").is_err());
    let endless = "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}";
    assert!(matches!(rendered(endless), Err(TemplateError::Failed { .. })), "{:?}", rendered(endless));
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    assert!(matches!(rendered(&long), Err(TemplateError::TooLong { .. })));
    let growing = format!("{{% for a in range(5000) %}}{}{{% endfor %}}", "x".repeat(1_000));
    assert!(matches!(rendered(&growing), Err(TemplateError::TooLong { .. })));
}
