//! What is there before the first request: workspaces, apps, published workflows, tags and knowledge bases.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    dice::Dice,
    graph::graph,
    json::object,
    options::Options,
    plan::{AppKind, Flow, Plan, kinds, plan},
    profile::Profile,
    texts,
    value::{At, DAY, MINUTE, Micros, Row, SECOND, Statement, Write, naive, row},
};

/// An app and what is published of it.
#[derive(Debug, Clone)]
pub struct App {
    /// `apps.id`.
    pub id: Uuid,
    /// `apps.tenant_id`.
    pub tenant: Uuid,
    /// `apps.name`.
    pub name: String,
    /// What it is.
    pub kind: AppKind,
    /// The published version of its workflow.
    pub workflow: Uuid,
    /// The draft of its workflow.
    pub draft: Uuid,
    /// `workflows.version` of the published one.
    pub version: String,
    /// The graph JSON of both.
    pub graph: Arc<str>,
    /// What runs.
    pub plan: Plan,
    /// `app_model_configs.id` of chat and completion apps.
    pub model_config: Uuid,
    /// Share of the traffic.
    pub weight: f64,
}

impl App {
    /// `apps.mode`.
    pub fn mode(&self) -> &'static str {
        match self.kind {
            AppKind::Workflow(_) => "workflow",
            AppKind::Chatflow(_) => "advanced-chat",
            AppKind::Chat { .. } => "chat",
            AppKind::Completion => "completion",
            AppKind::AgentChat => "agent-chat",
        }
    }

    /// Whether its runs are in `workflow_runs`.
    pub fn has_runs(&self) -> bool {
        matches!(self.kind, AppKind::Workflow(_) | AppKind::Chatflow(_))
    }
}

/// A knowledge base.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `datasets.id`.
    pub id: Uuid,
    /// `datasets.name`.
    pub name: &'static str,
    /// Its first documents: id and name.
    pub documents: Vec<(Uuid, String)>,
}

/// Everything that exists before the traffic.
#[derive(Debug, Clone)]
pub struct World {
    /// Workspaces.
    pub tenants: Vec<Uuid>,
    /// The author of everything.
    pub account: Uuid,
    /// The apps.
    pub apps: Vec<App>,
    /// The knowledge bases.
    pub datasets: Vec<Dataset>,
    /// `tool_workflow_providers.id` of the workflow that is used as a tool.
    pub child_provider: Uuid,
}

const DATASETS: [&str; 3] = ["phones-kb", "clothing-kb", "产品手册"];
const TAGS: [&str; 3] = ["line:phones", "line:clothing", "team:客服"];

impl World {
    /// The world of a seed: the same for every start time, so that history and live traffic share their apps.
    pub fn new(seed: u64, options: &Options, profile: &Profile) -> Self {
        let mut dice = Dice::new(seed, 1);
        let mut world = Self {
            tenants: vec![dice.uuid(), dice.uuid()],
            account: dice.uuid(),
            apps: Vec::new(),
            datasets: DATASETS
                .iter()
                .map(|name| Dataset {
                    id: dice.uuid(),
                    name,
                    documents: (0..3).map(|number| (dice.uuid(), format!("{name}-{number}.txt"))).collect(),
                })
                .collect(),
            child_provider: dice.uuid(),
        };
        let kinds = kinds(profile);
        for number in 0..options.apps.max(1) {
            let kind = kinds[number % kinds.len()];
            let app = app(&mut dice, &world, number, kind);
            world.apps.push(app);
        }
        world
    }

    /// The app that is used as a tool, if there is one.
    pub fn child_app(&self) -> Option<&App> {
        self.apps.iter().find(|app| app.kind == AppKind::Workflow(Flow::Llm))
    }

    /// The transactions that create the world, dated some days before `start`.
    pub fn setup(&self, seed: u64, start: Micros) -> Vec<Write> {
        let mut dice = Dice::new(seed, 2);
        let at = (start - 20 * DAY) / SECOND * SECOND;
        let mut statements = Vec::new();
        let mut add = |table, row: Row| statements.push(Statement::Ensure { table, row });
        for (number, tenant) in self.tenants.iter().enumerate() {
            add(
                "tenants",
                row! {
                    "id" => *tenant, "name" => ["Admin's Workspace", "市场部"][number % 2], "plan" => "basic",
                    "status" => "normal", "created_at" => At(at), "updated_at" => At(at),
                },
            );
        }
        add(
            "accounts",
            row! {
                "id" => self.account, "name" => "Admin", "email" => "admin@example.com", "status" => "active",
                "interface_language" => "en-US", "timezone" => "Asia/Shanghai", "created_at" => At(at),
                "updated_at" => At(at), "last_active_at" => At(at), "initialized_at" => At(at),
            },
        );
        for app in &self.apps {
            for (table, row) in app_rows(self, app, at) {
                add(table, row);
            }
        }
        for (table, row) in tag_rows(self, &mut dice, at).into_iter().chain(dataset_rows(self, at)) {
            add(table, row);
        }
        if let Some(child) = self.child_app() {
            add(
                "tool_workflow_providers",
                row! {
                    "id" => self.child_provider, "name" => "ask_the_desk", "icon" => "{}", "app_id" => child.id,
                    "user_id" => self.account, "tenant_id" => child.tenant, "description" => "", "version" => child.version.as_str(),
                    "parameter_configuration" => "[]", "label" => "Ask the desk", "created_at" => At(at), "updated_at" => At(at),
                },
            );
        }
        vec![Write { at: start - MINUTE, lane: 0, statements }]
    }
}

fn app(dice: &mut Dice, world: &World, number: usize, kind: AppKind) -> App {
    let plan = match kind {
        AppKind::Workflow(flow) => plan(flow, false),
        AppKind::Chatflow(flow) => plan(flow, true),
        _ => Plan::new(),
    };
    let weight = match kind {
        AppKind::Workflow(Flow::Webhook | Flow::Schedule | Flow::Human) => 0.5,
        _ => 0.5 + 2.0 / (number as f64 + 1.0),
    };
    App {
        id: dice.uuid(),
        tenant: world.tenants[usize::from(number % 7 == 6) % world.tenants.len()],
        name: texts::app_name(number),
        kind,
        workflow: dice.uuid(),
        draft: dice.uuid(),
        version: format!("2026-03-0{} 08:25:53.21{:04}", number % 9 + 1, number % 10_000),
        graph: graph(&plan, world).dumps().into(),
        plan,
        model_config: dice.uuid(),
        weight,
    }
}

fn app_rows(world: &World, app: &App, at: Micros) -> Vec<(&'static str, Row)> {
    let flow = app.has_runs();
    let mut rows = vec![(
        "apps",
        row! {
            "id" => app.id, "tenant_id" => app.tenant, "name" => app.name.as_str(), "mode" => app.mode(), "icon" => "🤖",
            "icon_background" => "#FFEAD5", "icon_type" => "emoji", "status" => "normal", "enable_site" => true, "enable_api" => true,
            "api_rpm" => 0, "api_rph" => 0, "is_demo" => false, "is_public" => false, "is_universal" => false,
            "description" => app.name.as_str(), "use_icon_as_answer_icon" => false,
            "workflow_id" => flow.then_some(app.workflow), "app_model_config_id" => (!flow).then_some(app.model_config),
            "created_by" => world.account, "updated_by" => world.account, "created_at" => At(at), "updated_at" => At(at),
        },
    )];
    if flow {
        let features = object! { "file_upload" => object! { "enabled" => false }, "opening_statement" => "", "retriever_resource" => object! { "enabled" => true } };
        for (id, version) in [(app.draft, "draft"), (app.workflow, app.version.as_str())] {
            rows.push((
                "workflows",
                row! {
                    "id" => id, "tenant_id" => app.tenant, "app_id" => app.id,
                    "type" => if app.mode() == "workflow" { "workflow" } else { "chat" }, "version" => version,
                    "graph" => app.graph.clone(), "features" => &features, "environment_variables" => "{}",
                    "conversation_variables" => "{}", "rag_pipeline_variables" => "{}", "marked_name" => "", "marked_comment" => "",
                    "created_by" => world.account, "created_at" => At(at), "updated_at" => At(at),
                },
            ));
        }
    }
    rows
}

fn tag_rows(world: &World, dice: &mut Dice, at: Micros) -> Vec<(&'static str, Row)> {
    let tags: Vec<_> = TAGS.iter().map(|name| (dice.uuid(), *name)).collect();
    let mut rows: Vec<(&'static str, Row)> = tags
        .iter()
        .map(|(id, name)| {
            let row = row! {
                "id" => *id, "tenant_id" => world.tenants[0], "type" => "app", "name" => *name,
                "created_by" => world.account, "created_at" => At(at),
            };
            ("tags", row)
        })
        .collect();
    for (number, app) in world.apps.iter().enumerate() {
        for (position, (tag, _)) in tags.iter().enumerate() {
            if number % 5 == position || number % 7 == position {
                let row = row! {
                    "id" => dice.uuid(), "tenant_id" => app.tenant, "tag_id" => *tag, "target_id" => app.id,
                    "created_by" => world.account, "created_at" => At(at),
                };
                rows.push(("tag_bindings", row));
            }
        }
    }
    rows
}

fn dataset_rows(world: &World, at: Micros) -> Vec<(&'static str, Row)> {
    let mut rows = Vec::new();
    for dataset in &world.datasets {
        let economy = dataset.name == "clothing-kb";
        rows.push((
            "datasets",
            row! {
                "id" => dataset.id, "tenant_id" => world.tenants[0], "name" => dataset.name, "provider" => "vendor",
                "permission" => "all_team_members", "data_source_type" => "upload_file",
                "indexing_technique" => if economy { "economy" } else { "high_quality" },
                "embedding_model" => (!economy).then_some("text-embedding-3-small"),
                "embedding_model_provider" => (!economy).then_some("langgenius/openai/openai"),
                "created_by" => world.account, "updated_by" => world.account, "created_at" => At(at), "updated_at" => At(at),
            },
        ));
        for (position, (id, name)) in dataset.documents.iter().enumerate() {
            rows.push(("documents", completed_document(world, dataset, *id, name, position, at)));
        }
    }
    rows
}

fn completed_document(world: &World, dataset: &Dataset, id: Uuid, name: &str, position: usize, at: Micros) -> Row {
    row! {
        "id" => id, "tenant_id" => world.tenants[0], "dataset_id" => dataset.id, "position" => position as i64 + 1,
        "data_source_type" => "upload_file", "data_source_info" => "{}", "batch" => naive(at), "name" => name,
        "created_from" => "api", "created_by" => world.account, "created_at" => At(at), "processing_started_at" => At(at + 7 * SECOND),
        "word_count" => 209, "parsing_completed_at" => At(at + 8 * SECOND), "cleaning_completed_at" => At(at + 8 * SECOND),
        "splitting_completed_at" => At(at + 9 * SECOND), "tokens" => 60, "indexing_latency" => 0.8, "completed_at" => At(at + 10 * SECOND),
        "is_paused" => false, "indexing_status" => "completed", "enabled" => true, "archived" => false,
        "updated_at" => At(at), "doc_form" => "text_model", "doc_language" => "English",
    }
}
