//! Definitions broken on purpose, and the property that each of them loses.

use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

use crate::definition::Model;
use crate::flaw::Property;

/// One way to break a definition.
pub(crate) struct Broken {
    pub(crate) what: &'static str,
    pub(crate) breaks: fn(&mut Model),
    pub(crate) loses: Property,
}

fn state<'a>(model: &'a mut Model, name: &str) -> &'a mut Value {
    &mut model.machine["States"][name]
}

fn parameter(model: &mut Model, name: &str, field: &str, value: u64) {
    model.template["Parameters"][name][field] = Yaml::from(value);
}

/// All of them.
pub(crate) fn all() -> Vec<Broken> {
    [ways(), times(), payloads()].into_iter().flatten().collect()
}

const fn broken(what: &'static str, loses: Property, breaks: fn(&mut Model)) -> Broken {
    Broken { what, breaks, loses }
}

fn ways() -> Vec<Broken> {
    use Property::*;
    vec![
        broken("a state that isn't there", TargetsExist, |model| {
            state(model, "AwaitUpload")["Next"] = json!("VerifyUpload");
        }),
        broken("a state that nobody goes to", NothingIsUnreachable, |model| {
            state(model, "AwaitUpload")["Next"] = json!("DestroyJumpBox");
        }),
        broken("a failed verification begins anew", NothingRepeats, |model| {
            state(model, "VerifyBackup")["Catch"][0]["Next"] = json!("ProvisionJumpBox");
        }),
        broken("a good verdict needs no destruction", DestroyedBeforeTheEnd, |model| {
            state(model, "VerifyBackup")["Next"] = json!("JudgeRun");
        }),
        broken("a failed upload ends at once", DestroyedBeforeTheEnd, |model| {
            state(model, "AwaitUpload")["Catch"][0]["Next"] = json!("BackupFailed");
        }),
        broken("one error is caught elsewhere", DestroyedBeforeTheEnd, |model| {
            let catch = state(model, "ProvisionJumpBox")["Catch"].as_array_mut().unwrap();
            catch.insert(0, json!({"ErrorEquals": ["OutOfCapacity"], "Output": {}, "Next": "BackupFailed"}));
        }),
        broken("timeouts aren't caught", DestroyedBeforeTheEnd, |model| {
            state(model, "AwaitUpload")["Catch"][0]["ErrorEquals"] = json!(["States.TaskFailed"]);
        }),
        broken("a choice, whose errors nobody catches, before the destruction", DestroyedBeforeTheEnd, |model| {
            state(model, "AwaitUpload")["Next"] = json!("Look");
            let choice = json!([{"Condition": "{% $states.input.bytes > 0 %}", "Next": "VerifyBackup"}]);
            model.machine["States"]["Look"] = json!({"Type": "Choice", "Choices": choice, "Default": "DestroyJumpBox"});
        }),
        broken("all errors among others", EveryTaskCatchesAll, |model| {
            state(model, "VerifyBackup")["Catch"][0]["ErrorEquals"] = json!(["States.Timeout", "States.ALL"]);
        }),
        broken("whatever fails is done again", RetriesAreOnPurpose, |model| {
            state(model, "VerifyBackup")["Retry"][0]["ErrorEquals"] = json!(["States.ALL"]);
        }),
        broken("what Lambda asks to be retried isn't", RetriesAreOnPurpose, |model| {
            state(model, "ProvisionJumpBox")["Retry"][0]["ErrorEquals"] = json!(["AwsThrottled"]);
        }),
        broken("the destruction is tried again only when Lambda fails", DestructionIsTriedAgain, |model| {
            let lambda = state(model, "VerifyBackup")["Retry"][0]["ErrorEquals"].clone();
            state(model, "DestroyJumpBox")["Retry"][0]["ErrorEquals"] = lambda;
        }),
        broken("the destruction has no second try", DestructionIsTriedAgain, |model| {
            state(model, "DestroyJumpBox")["Retry"][0]["MaxAttempts"] = json!(0);
        }),
        broken("an error that no function raises", MatchedErrorsExist, |model| {
            state(model, "VerifyBackup")["Retry"][0]["ErrorEquals"][0] = json!("AwsTrotthled");
        }),
        broken("another service's error", MatchedErrorsExist, |model| {
            state(model, "AwaitUpload")["Retry"][0]["ErrorEquals"][0] = json!("Lambda.ServiceException");
        }),
    ]
}

fn times() -> Vec<Broken> {
    use Property::*;
    vec![
        broken("no timeout", EveryTaskHasATimeout, |model| {
            state(model, "DestroyJumpBox").as_object_mut().unwrap().remove("TimeoutSeconds");
        }),
        broken("a timeout without a ceiling", EveryTaskHasATimeout, |model| {
            model.template["Parameters"]["BootSeconds"].as_mapping_mut().unwrap().remove("MaxValue");
        }),
        broken("no heartbeat", SilenceIsBounded, |model| {
            state(model, "AwaitUpload").as_object_mut().unwrap().remove("HeartbeatSeconds");
        }),
        broken("a box that may boot for hours", SilenceIsBounded, |model| {
            parameter(model, "BootSeconds", "MaxValue", 7200);
        }),
        broken("a heartbeat as long as the window", TimesAreNested, |model| {
            state(model, "AwaitUpload")["HeartbeatSeconds"] =
                json!("{% $states.context.Execution.Input.window_seconds %}");
        }),
        broken("a state's timeout beyond the execution's", TimesAreNested, |model| {
            state(model, "DestroyJumpBox")["TimeoutSeconds"] = json!(30_000);
        }),
        broken("a state that ends together with its function", FunctionsEndBeforeTheirStates, |model| {
            state(model, "VerifyBackup")["TimeoutSeconds"] = json!("{% ${VerifySeconds} %}");
        }),
        broken("another function's timeout", FunctionsEndBeforeTheirStates, |model| {
            state(model, "VerifyBackup")["TimeoutSeconds"] = json!("{% ${DestroySeconds} + 10 %}");
        }),
        broken("an execution without a timeout", TheExecutionOutlastsItsParts, |model| {
            model.machine.as_object_mut().unwrap().remove("TimeoutSeconds");
        }),
        broken("a window that fills the execution", TheExecutionOutlastsItsParts, |model| {
            parameter(model, "WindowMaxSeconds", "MaxValue", 25_000);
        }),
        broken("an upload that is waited for again and again", TheExecutionOutlastsItsParts, |model| {
            state(model, "AwaitUpload")["Retry"][0]["ErrorEquals"] = json!(["States.Timeout"]);
        }),
        broken("pauses that double without a ceiling", TheExecutionOutlastsItsParts, |model| {
            let retry = &mut state(model, "DestroyJumpBox")["Retry"][0];
            retry.as_object_mut().unwrap().remove("MaxDelaySeconds");
            retry["MaxAttempts"] = json!(13);
        }),
    ]
}

fn payloads() -> Vec<Broken> {
    use Property::{FailuresFit, PayloadsFit};
    vec![
        broken("a cause of any length, kept twice", PayloadsFit, |model| {
            let cause = "{% $states.errorOutput.Cause %}";
            state(model, "VerifyBackup")["Catch"][0]["Assign"] = json!({"failure": {"cause": cause, "again": cause}});
        }),
        broken("an answer that nobody has bounded", PayloadsFit, |model| {
            state(model, "VerifyBackup")["Resource"] = json!("arn:aws:states:::aws-sdk:s3:listObjectsV2");
        }),
        broken("a function that may make anything of its argument", PayloadsFit, |model| {
            state(model, "AwaitUpload")["Output"] = json!("{% $pad($states.context.Execution.Name, 300000) %}");
        }),
        broken("a cause of any length in a failure's words", FailuresFit, |model| {
            state(model, "AwaitUpload")["Catch"][0]["Assign"]["failure"]["cause"] =
                json!("{% $states.errorOutput.Cause %}");
        }),
        broken("a failure named by two errors", FailuresFit, |model| {
            state(model, "BackupFailed")["Error"] = json!("{% $failure.error & $failure.error %}");
        }),
        broken("a cause in which every character becomes a sentence", FailuresFit, |model| {
            let cause =
                "{% $replace($failure.cause, /[aeiou]/, 'a vowel, which is fifty characters long, or nearly so') %}";
            state(model, "BackupFailed")["Cause"] = json!(cause);
        }),
        broken("more in a parameter than it holds", PayloadsFit, |model| {
            let value = "{% $string({'token': $states.context.Task.Token, 'again': $states.context.Task.Token}) %}";
            state(model, "AwaitUpload")["Arguments"]["Value"] = json!(value);
        }),
    ]
}
