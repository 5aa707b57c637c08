#pragma once

#include "worker/worker.hpp"

#include <string>
#include <vector>

/**
 * How a worker that is made anew finds its conversation again. Claude Code gets the conversation's id from us, made of
 * the worker's, which is never used twice. "The last conversation in this directory" would not do: all projects of an
 * owner are /workspace to the same Claude home. Pure.
 */
namespace hal::worker {

/**
 * Whether the command is Claude Code in a conversation that is left to us: no subcommand or prompt as first argument,
 * no -p, and no word of its own on which conversation.
 */
[[nodiscard]] bool has_session(const Worker& worker);
/** Where Claude Code keeps the conversation, in the worker. */
[[nodiscard]] std::string transcript_of(const Worker& worker);
/** The command to start: as it is where has_session() says no. */
[[nodiscard]] std::vector<std::string> session_command(const Worker& worker, bool resume);

}  // namespace hal::worker
