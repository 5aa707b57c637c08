#pragma once

#include "claudy/cli_parts.hpp"

/** Options of the verbs that change which MCP servers there are; for cli.cpp alone, like cli_parts.hpp. */
namespace hal::claudy::cli {

inline void add_install(CLI::App* verb, ServerInstallOptions& options) {
  verb->add_option("NAME", options.name, "Name the server shall have")->required();
  verb->add_option("PACKAGE", options.package, "npm:NAME[@VERSION] or pypi:NAME[==VERSION]")->required();
  verb->add_option("--args,ARGUMENTS", options.args, "Arguments of the server; all that stands after --");
  add_env(verb, options.env);
  verb->add_option("--mode", options.mode, "shared (one process for all) or session (one for each)")
      ->check(CLI::IsMember({"shared", "session"}));
  verb->add_option("--bin", options.bin, "Which program of the package, if it has several");
  verb->add_flag("--scripts", options.scripts, "Let packages run their own installation programs");
  verb->add_flag("--replace", options.replace, "Also if a server of this name was imported");
  verb->add_flag("--json", options.json, "Print the server as JSON");
  verb->footer(
      "Of a server that is installed already, what is not named stays; another version replaces it:\n"
      "  claudy server install time pypi:mcp-server-time==2026.10.19 -- --local-timezone Europe/Berlin");
}

inline void add_import(CLI::App* verb, ServerImportOptions& options) {
  verb->add_option("FILE", options.file, "A file in the format of .mcp.json (default: all that --from names)");
  verb->add_option("--from", options.from, "claude-desktop, claude-code or mcp-json (default: all that are there)")
      ->check(CLI::IsMember({"claude-desktop", "claude-code", "mcp-json"}));
  verb->add_option("--only", options.only, "Only servers of this name; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false);
  verb->add_flag("--dry-run", options.dry_run, "Only show what would change");
  verb->add_flag("--replace", options.replace, "Replace servers that are there and differ");
  verb->add_flag("--install", options.install, "Install what is started by npx or uvx");
  verb->add_flag("-y,--yes", options.yes, "Do not ask");
  verb->add_flag("--json", options.json, "Print one JSON document; needs --yes or --dry-run");
}

}  // namespace hal::claudy::cli
