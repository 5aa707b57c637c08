#include "claudy/cli.hpp"

#include "base/text.hpp"
#include "build_config.hpp"
#include "claudy/cli_parts.hpp"
#include "claudy/cli_servers.hpp"
#include "claudy/verbs.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace hal::claudy {

namespace {

/** What stands before and after the "--" that ends our own arguments, for verbs that take someone else's. */
struct Split {
  std::vector<std::string> own;
  std::vector<std::string> others;
  bool separated = false;
};

using namespace cli;  // the parts of this file that are templates

class CommandLine {
 public:
  CommandLine()
      : app_("Opens Claude Code in a container of its own, and looks after the system that runs it.", "claudy") {
    app_.set_version_flag("--version", fmt::format("claudy {}", build::version));
    app_.set_help_flag("-h,--help", "Show this help and exit");
    app_.require_subcommand(0, 1);
    const auto formatter = app_.get_formatter();
    formatter->label("SUBCOMMAND", "VERB");
    formatter->label("SUBCOMMANDS", "VERBS");
    formatter->label("Subcommands", "Verbs");
    formatter->label("TEXT", "");
    formatter->label("REQUIRED", "(required)");
    formatter->column_width(30);
    app_.footer(
        "Everything after -- goes to Claude:  claudy ~/project -- --model opus\n"
        "Exit codes: 0 ok, 1 failure, 2 bad arguments, 3 engine or daemon unavailable, 4 not authorised,\n"
        "5 no such worker or session, 6 busy or limit reached, 7 timed out; `exec` gives the program's own.");
    add_open();
    add_spawn();
    add_listings();
    add_streams();
    add_changes();
    add_terminal_text();
    add_servers();
    add_pool();
    add_images();
    add_system();
  }

  Result<std::variant<Command, Information>> parse(std::vector<std::string> arguments) {
    auto split = split_at_dashes(std::move(arguments));
    others_ = std::move(split.others);
    separated_ = split.separated;
    std::reverse(split.own.begin(), split.own.end());  // as CLI11 wants it
    try {
      app_.parse(split.own);
    } catch (const CLI::CallForHelp&) {
      return {Information{app_.help()}};
    } catch (const CLI::CallForVersion& version) {
      return {Information{std::string(version.what()) + "\n"}};
    } catch (const CLI::ParseError& error) {
      return usage_error(error);
    }
    return {Command{global_, std::move(action_)}};
  }

 private:
  using Action = std::function<Result<int>(const Global&)>;

  /** Options of a verb, kept until the command line is read and by the action after it. */
  template <class Options>
  struct Verb {
    CLI::App* app;
    std::shared_ptr<Options> options;
  };

  template <class Options>
  Verb<Options> add_verb(CLI::App& parent, const std::string& name, const std::string& help) {
    auto* verb = parent.add_subcommand(name, help);
    verb->footer("");  // or it has its parent's
    verb->add_flag("--user", global_.user, "Use the session bus instead of the system bus");
    return {verb, std::make_shared<Options>()};
  }

  /** A verb that is done by one function with the verb's options. */
  template <class Options, class Function>
  void runs(const Verb<Options>& verb, Function function) {
    runs(verb, function, [](Options&) {});
  }

  /** The same for a verb that has verbs of its own and is done only where none of them is named. */
  template <class Options, class Function>
  void runs_group(const Verb<Options>& verb, Function function) {
    verb.app->final_callback([this, verb, function] {
      if (verb.app->get_subcommands().empty()) {
        action_ = [options = verb.options, function](const Global& global) { return function(global, *options); };
      }
    });
  }

  /** `complete` is called before, while this object still lives. */
  template <class Options, class Function, class Complete>
  void runs(const Verb<Options>& verb, Function function, Complete complete) {
    verb.app->final_callback([this, options = verb.options, function, complete] {
      complete(*options);
      action_ = [options, function](const Global& global) { return function(global, *options); };
    });
  }

  void add_open() {
    auto options = std::make_shared<OpenOptions>();
    app_.add_option("DIR", options->directory, "Open Claude in this directory (default: here)");
    app_.add_flag("--user", global_.user, "Use the session bus instead of the system bus");
    add_keys(&app_, options->keys);
    app_.final_callback([this, options] {
      if (!app_.get_subcommands().empty()) {
        if (app_.count("DIR") > 0) {
          throw CLI::ExtrasError({options->directory});
        }
        return;
      }
      options->claude_arguments = others_;
      action_ = [options](const Global& global) { return open_claude(global, *options); };
    });
  }

  void add_spawn();
  void add_listings();
  void add_streams();
  void add_changes();
  void add_terminal_text();
  void add_servers();
  void add_images();
  void add_pool();
  void add_server_changes(CLI::App& group);
  void add_system();

  Error usage_error(const CLI::ParseError& error) const {
    const auto* verb = helped();
    const auto words = verb->remaining();
    std::string what = text::printable(error.what(), 500);
    if (!verb->get_subcommands({}).empty() && !words.empty()) {  // CLI11 only says that a verb is missing
      what = fmt::format("'{}' is no verb of {}", text::printable(words.front()), full_name(verb));
    }
    return {Errc::invalid_argument, fmt::format("{}: see `{} --help`", what, full_name(verb))};
  }

  /** The deepest verb that was named. */
  const CLI::App* helped() const {
    const CLI::App* verb = &app_;
    for (auto named = verb->get_subcommands(); !named.empty(); named = verb->get_subcommands()) {
      verb = named.front();
    }
    return verb;
  }

  std::string full_name(const CLI::App* verb) const {
    return verb == &app_ ? "claudy" : full_name(verb->get_parent()) + " " + verb->get_name();
  }

  /** Only the verbs that run someone else's command line; to all others "--" only ends the options. */
  Split split_at_dashes(std::vector<std::string> arguments) const {
    const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    std::string verb;
    for (auto word = arguments.begin(); word != dashes && verb.empty(); ++word) {
      if (*word == "--detach-keys" && word + 1 != dashes) {
        ++word;
      } else if (word->empty() || word->front() != '-') {
        verb = *word;
      }
    }
    const bool is_verb =
        !app_.get_subcommands([&verb](const CLI::App* app) { return app->get_name() == verb; }).empty();
    if (dashes == arguments.end() || (is_verb && verb != "spawn" && verb != "exec")) {
      return {std::move(arguments), {}, false};
    }
    return {{arguments.begin(), dashes}, {dashes + 1, arguments.end()}, true};
  }

  CLI::App app_;
  Global global_;
  Action action_;
  std::vector<std::string> others_;
  bool separated_ = false;
};

void CommandLine::add_spawn() {
  const auto verb = add_verb<SpawnOptions>(app_, "spawn", "Make a worker on a directory and print its name");
  auto& options = *verb.options;
  verb.app->add_option("DIR", options.directory, "The project's directory (default: here)");
  verb.app->add_option("--name", options.name, "Name (default: from the directory)");
  verb.app->add_option("--profile", options.profile, "Worker profile of the configuration");
  verb.app->add_option("--image", options.image, "Container image instead of the profile's");
  add_env(verb.app, options.env);
  add_limits(verb.app, options.limits);
  verb.app->add_flag("--read-only", options.read_only, "The worker cannot change the project");
  verb.app->add_option("--network", options.network, "parent (default) or isolated")
      ->check(CLI::IsMember({"parent", "isolated"}));
  verb.app->add_option("--claim", options.claim, "Take a warm container: prefer (default), require or never")
      ->check(CLI::IsMember({"prefer", "require", "never"}));
  verb.app
      ->add_option_function<std::vector<std::string>>(
          "--server", [&options](const std::vector<std::string>& names) { options.servers = names; },
          "MCP server it may use; may be repeated (default: all)")
      ->type_name("NAME")
      ->allow_extra_args(false);
  verb.app
      ->add_flag_callback(
          "--no-servers", [&options] { options.servers.emplace(); }, "No MCP servers")
      ->excludes("--server");
  verb.app->add_option("--request-id", options.request_id, "The same id again gives the same worker");
  verb.app->add_flag("--no-wait", options.no_wait, "Do not wait until it runs");
  verb.app->add_flag("--json", options.json, "Print the worker as JSON");
  verb.app->footer("What stands after -- is run instead of Claude:  claudy spawn ~/project -- bash");
  runs(verb, spawn, [this](SpawnOptions& complete) { complete.command = others_; });
}

void CommandLine::add_listings() {
  const auto ls = add_verb<WorkerListOptions>(app_, "ls", "List your workers");
  ls.app->add_flag("-a,--all", ls.options->all, "Workers of all users");
  add_listing_flags(ls.app, *ls.options);
  runs(ls, list_workers);

  const auto show = add_verb<ShowOptions>(app_, "show", "Show all about one worker");
  show.app->add_option("WORKER", show.options->name, "Name or id")->required();
  add_listing_flags(show.app, *show.options);
  runs(show, show_worker);

  const auto status = add_verb<ListOptions>(app_, "status", "Show how the system is: engine, parent, MCP servers");
  add_listing_flags(status.app, *status.options);
  runs(status, show_status);
}

void CommandLine::add_streams() {
  const auto attach_verb = add_verb<AttachOptions>(app_, "attach", "Join this terminal to a worker's command");
  add_worker(attach_verb.app, attach_verb.options->worker);
  add_keys(attach_verb.app, attach_verb.options->keys);
  attach_verb.app->footer("The command goes on after you detach. Exit code: 0 when you detach, else the command's.");
  runs(attach_verb, attach);

  const auto exec_verb = add_verb<ExecOptions>(app_, "exec", "Run one more program in a worker");
  auto& options = *exec_verb.options;
  add_worker(exec_verb.app, options.worker);
  auto* terminal = exec_verb.app->add_flag_callback(
      "-t,--terminal", [&options] { options.terminal = true; }, "On a terminal (default where there is one)");
  exec_verb.app
      ->add_flag_callback(
          "-T,--no-terminal", [&options] { options.terminal = false; },
          "On pipes: standard output and error stay apart, binary data stays as it is")
      ->excludes(terminal);
  add_env(exec_verb.app, options.env);
  exec_verb.app->add_option("--cwd", options.directory, "Directory in the worker (default: /workspace)");
  exec_verb.app->prefix_command();
  exec_verb.app->footer(
      "The program and its arguments follow WORKER:  claudy exec my-worker git log -3\n"
      "The exit code is the program's own.");
  runs(exec_verb, exec, [this, app = exec_verb.app](ExecOptions& complete) {
    complete.command = app->remaining();
    if (!complete.command.empty() && separated_) {
      complete.command.emplace_back("--");  // was among the program's arguments
    }
    complete.command.insert(complete.command.end(), others_.begin(), others_.end());
    if (complete.command.empty()) {
      throw CLI::RequiredError("PROGRAM");
    }
  });

  const auto logs_verb = add_verb<LogsOptions>(app_, "logs", "Print a worker's output");
  add_worker(logs_verb.app, logs_verb.options->worker);
  logs_verb.app->add_flag("-f,--follow", logs_verb.options->follow, "Go on with what comes");
  logs_verb.app->add_flag("-t,--timestamps", logs_verb.options->timestamps, "Begin lines with the time");
  add_parsed(logs_verb.app, "-n,--lines", logs_verb.options->lines, parse_number<std::uint32_t>,
             "Only the last N lines", "N");
  runs(logs_verb, logs);
}

void CommandLine::add_changes() {
  const auto stop_verb = add_verb<StopOptions>(app_, "stop", "End workers' commands; the workers stay known");
  add_workers(stop_verb.app, stop_verb.options->workers);
  add_parsed(stop_verb.app, "--timeout", stop_verb.options->timeout, parse_duration,
             "Kill what has not ended then (default: 10s)", "TIME");
  runs(stop_verb, stop);

  const auto kill_verb = add_verb<KillOptions>(app_, "kill", "Send a signal to workers' commands");
  add_workers(kill_verb.app, kill_verb.options->workers);
  kill_verb.app->add_option("-s,--signal", kill_verb.options->signal, "Signal, by name or number")
      ->capture_default_str();
  runs(kill_verb, kill);

  struct Plain {
    const char* name;
    const char* help;
    Result<int> (*function)(const Global&, const WorkersOptions&);
  };
  for (const auto& plain :
       {Plain{"rm", "End workers and forget them; their directories stay", remove},
        Plain{"restart", "Make workers anew, with the same project and command", restart},
        Plain{"pause", "Freeze workers", pause}, Plain{"resume", "Let frozen workers go on", resume}}) {
    const auto verb = add_verb<WorkersOptions>(app_, plain.name, plain.help);
    add_workers(verb.app, verb.options->workers);
    runs(verb, plain.function);
  }

  const auto limits = add_verb<WorkerLimitsOptions>(app_, "limits", "Change a worker's limits while it runs");
  add_worker(limits.app, limits.options->worker);
  add_limits(limits.app, limits.options->limits);
  runs(limits, set_limits);
}

void CommandLine::add_terminal_text() {
  const auto send_verb = add_verb<SendOptions>(app_, "send", "Type a text into a worker's terminal, and Return");
  add_worker(send_verb.app, send_verb.options->worker);
  send_verb.app->add_option("TEXT", send_verb.options->text, "The text; - reads it from standard input")->required();
  send_verb.app->add_flag("--no-enter", send_verb.options->no_enter, "Do not press Return after it");
  runs(send_verb, send);

  const auto capture_verb = add_verb<CaptureOptions>(app_, "capture", "Print what a worker's terminal shows");
  add_worker(capture_verb.app, capture_verb.options->worker);
  add_parsed(capture_verb.app, "-n,--lines", capture_verb.options->lines, parse_number<std::uint32_t>,
             "The last N lines, also those scrolled away (default: the screen)", "N");
  runs(capture_verb, capture);
}

void CommandLine::add_servers() {
  auto& group = *app_.add_subcommand("server", "Look at and control the host's MCP servers");
  group.footer("");
  group.require_subcommand(1);

  const auto list = add_verb<ListOptions>(group, "ls", "List the MCP servers");
  add_listing_flags(list.app, *list.options);
  runs(list, list_servers);

  const auto show = add_verb<ShowOptions>(group, "show", "Show all about one MCP server");
  show.app->add_option("NAME", show.options->name, "Name of the server")->required();
  add_listing_flags(show.app, *show.options);
  runs(show, show_server);

  for (const auto& [name, member, help] :
       {std::tuple("start", "Start", "Start an MCP server"), std::tuple("stop", "Stop", "Stop an MCP server"),
        std::tuple("restart", "Restart", "Stop and start an MCP server")}) {
    const auto verb = add_verb<std::string>(group, name, help);
    verb.app->add_option("NAME", *verb.options, "Name of the server")->required();
    runs(verb, [member = member](const Global& global, const std::string& server) {
      return change_server(global, server, member);
    });
  }

  const auto tools = add_verb<ShowOptions>(group, "tools", "List the tools of an MCP server");
  tools.app->add_option("NAME", tools.options->name, "Name of the server")->required();
  tools.app->add_flag("--json", tools.options->json, "Print one JSON document");
  runs(tools, list_tools);

  const auto call = add_verb<ServerCallOptions>(group, "call", "Call a tool and print what it answers");
  call.app->add_option("NAME", call.options->name, "Name of the server")->required();
  call.app->add_option("TOOL", call.options->tool, "The tool; or a method of MCP, with its slash: resources/list")
      ->required();
  call.app->add_option("ARGUMENTS", call.options->arguments, "A JSON object");
  call.app->add_flag("--json", call.options->json, "Print the whole result as JSON");
  runs(call, call_server);

  add_server_changes(group);
  const auto logs = add_verb<ServerLogsOptions>(group, "logs", "Print what an MCP server says and who calls it");
  logs.app->add_option("NAME", logs.options->name, "Name of the server")->required();
  logs.app->add_flag("-f,--follow", logs.options->follow, "Go on as new lines come, until Ctrl-C");
  add_parsed(logs.app, "-n,--lines", logs.options->lines, parse_number<std::uint32_t>, "The last N lines", "N");
  logs.app->add_flag("--json", logs.options->json, "Print a JSON document a line");
  runs(logs, server_logs);

  const auto trace = add_verb<ServerTraceOptions>(group, "trace", "Show what your workers and an MCP server say");
  trace.app->add_option("NAME", trace.options->name, "Name of the server")->required();
  trace.app->add_option("--worker", trace.options->worker, "Only this worker's sessions, by its name or id");
  trace.app->add_flag("--payloads", trace.options->payloads, "Show the beginning of each message too");
  trace.app->add_flag("--json", trace.options->json, "Print a JSON document a message");
  trace.app->footer(
      "Root sees all workers, others their own. Ends with Ctrl-C, with the worker (0), the server (0)\n"
      "or the daemon (3).");
  runs(trace, trace_server);
}

void CommandLine::add_images() {
  auto& group = *app_.add_subcommand("image", "Look at and make what workers and their parent are made from");
  group.footer("")->require_subcommand(1);
  const auto list = add_verb<ListOptions>(group, "ls", "List the images and whether they are current");
  add_listing_flags(list.app, *list.options);
  runs(list, list_images);
  const auto build = add_verb<ImageBuildOptions>(group, "build", "Build images that are not current, and wait");
  build.app->add_option("NAME", build.options->names, "worker-minimal, worker-python, parent … (default: needed ones)");
  build.app->add_flag("--refresh", build.options->refresh, "Also current ones, with the packages' present versions");
  runs(build, build_images);
  const auto load = add_verb<std::string>(group, "load", "Load images from an archive of docker save, and wait");
  load.app->add_option("FILE", *load.options, "The archive")->required();
  runs(load, load_images);
}

void CommandLine::add_pool() {
  const auto pool = add_verb<ListOptions>(app_, "pool", "Look at and control the pool of warm workers");
  pool.app->require_subcommand(0, 1);
  add_listing_flags(pool.app, *pool.options);
  runs_group(pool, show_pool);

  const auto status = add_verb<ListOptions>(*pool.app, "status", "Show it (default)");
  add_listing_flags(status.app, *status.options);
  runs(status, show_pool);

  const auto scale = add_verb<PoolScaleOptions>(*pool.app, "scale", "Set how many workers are kept warm; ends a drain");
  add_scale(scale.app, *scale.options);
  runs(scale, scale_pool);

  const auto warm = add_verb<PoolWarmOptions>(*pool.app, "warm", "Make workers now and wait for them; ends a drain");
  add_parsed(warm.app, "N", warm.options->count, parse_number<std::uint32_t>,
             "Until so many are warm (default: the pool's max)", "");
  runs(warm, warm_pool);

  const auto drain =
      add_verb<Global>(*pool.app, "drain", "Remove all warm workers and make no more, until warm or scale");
  runs(drain, [](const Global& global, const Global&) { return drain_pool(global); });
  const auto cleanup =
      add_verb<Global>(*pool.app, "cleanup", "Remove at once the warm workers that are too many, too old or of no use");
  runs(cleanup, [](const Global& global, const Global&) { return clean_pool(global); });
}

void CommandLine::add_server_changes(CLI::App& group) {
  const auto install = add_verb<ServerInstallOptions>(group, "install", "Install an MCP server from npm or PyPI");
  add_install(install.app, *install.options);
  runs(install, install_server);

  const auto uninstall =
      add_verb<std::string>(group, "uninstall", "Remove an MCP server that was installed or imported; its data stays");
  uninstall.app->add_option("NAME", *uninstall.options, "Name of the server")->required();
  runs(uninstall, uninstall_server);

  const auto import = add_verb<ServerImportOptions>(group, "import", "Take MCP servers over from Claude's own files");
  add_import(import.app, *import.options);
  runs(import, import_servers);
}

void CommandLine::add_system() {
  const auto parent = add_verb<ListOptions>(app_, "parent", "Show the parent: the workers' network and ChromaDB");
  parent.app->require_subcommand(0, 1);
  add_listing_flags(parent.app, *parent.options);
  const auto parent_status = add_verb<ListOptions>(*parent.app, "status", "Show it (default)");
  add_listing_flags(parent_status.app, *parent_status.options);
  const auto chroma = add_verb<Global>(*parent.app, "restart-chroma", "Stop and start ChromaDB; the network stays");
  runs_group(parent, show_parent);
  runs(parent_status, show_parent);
  runs(chroma, [](const Global& global, const Global&) { return restart_chroma(global); });

  auto& daemon = *app_.add_subcommand("daemon", "Look at and control hal9000d");
  daemon.footer("");
  daemon.require_subcommand(1);
  for (const auto& [name, help] :
       {std::pair("start", "Start the daemon"), std::pair("stop", "Stop the daemon; workers and MCP servers go on"),
        std::pair("restart", "Stop and start the daemon; workers and MCP servers go on")}) {
    const auto verb = add_verb<Global>(daemon, name, help);
    runs(verb, [name = name](const Global& global, const Global&) { return change_daemon(global, name); });
  }
  const auto status = add_verb<ListOptions>(daemon, "status", "Show whether the daemon runs");
  add_listing_flags(status.app, *status.options);
  runs(status, show_daemon);
}

}  // namespace

Result<std::variant<Command, Information>> parse_command_line(std::vector<std::string> arguments) {
  return CommandLine().parse(std::move(arguments));
}

}  // namespace hal::claudy
