#include "guard/options.hpp"
#include "guard/rules.hpp"

#include <array>

namespace hal::guard {

namespace {

using Objection = std::optional<std::string>;

/** Global options whose value is the next word. */
constexpr std::array<std::string_view, 6> with_value = {"-C",          "-c",          "--git-dir",
                                                        "--work-tree", "--namespace", "--super-prefix"};

/** A pathspec for all there is. */
bool is_everything(std::string_view path) {
  return path == "." || path == "./" || path == "*" || path == ":/" || path == ":" || path == "./*" ||
         path == "/workspace";
}

bool names_everything(const Arguments& arguments) {
  return std::any_of(arguments.operands.begin(), arguments.operands.end(), is_everything);
}

Objection push(const Arguments& arguments) {
  if (arguments.has('n') || arguments.has("--dry-run")) {
    return {};
  }
  // Not cut short: --force-with-lease, which looks first, begins the same.
  if (arguments.has('f') || arguments.has_exactly("--force")) {
    return "git push --force overwrites what others have pushed (--force-with-lease looks first)";
  }
  if (arguments.has("--mirror") || arguments.has("--prune")) {
    return "git push --mirror and --prune delete branches of the remote";
  }
  if (arguments.has('d') || arguments.has("--delete")) {
    return "git push --delete deletes branches of the remote";
  }
  for (const auto refspec : arguments.operands) {
    if (refspec.starts_with('+')) {
      return "git push with +REF overwrites what others have pushed";
    }
    if (refspec.size() > 1 && refspec.starts_with(':')) {
      return "git push with :REF deletes branches of the remote";
    }
  }
  return {};
}

Objection checkout(const Arguments& arguments) {
  if (arguments.has('f') || arguments.has("--force") || names_everything(arguments)) {
    return "git checkout --force and git checkout of all files throw uncommitted changes away (git stash keeps them)";
  }
  return {};
}

Objection restore(const Arguments& arguments) {
  const bool staged_only =
      (arguments.has('S') || arguments.has("--staged")) && !(arguments.has('W') || arguments.has("--worktree"));
  if (!staged_only && names_everything(arguments)) {
    return "git restore of all files throws uncommitted changes away (git stash keeps them)";
  }
  return {};
}

Objection clean(const Arguments& arguments) {
  if ((arguments.has('f') || arguments.has("--force")) && !arguments.has('n') && !arguments.has("--dry-run")) {
    return "git clean -f deletes files that git does not have (-n shows which)";
  }
  return {};
}

Objection branch(const Arguments& arguments) {
  const bool deletes = arguments.has('d') || arguments.has("--delete");
  if (arguments.has('D') || (deletes && (arguments.has('f') || arguments.has("--force")))) {
    return "git branch -D deletes commits that are on no other branch (-d looks first)";
  }
  return {};
}

Objection stash(const Arguments& arguments) {
  const auto what = arguments.operands.empty() ? std::string_view() : arguments.operands.front();
  if (what == "drop" || what == "clear") {
    return "git stash drop and clear throw changes away that are nowhere else";
  }
  return {};
}

Objection reflog(const Arguments& arguments) {
  const auto what = arguments.operands.empty() ? std::string_view() : arguments.operands.front();
  if (what == "expire" || what == "delete") {
    return "git reflog expire and delete take the way back from mistakes";
  }
  return {};
}

}  // namespace

std::optional<std::string> objection_to_git(const std::vector<std::string>& words) {
  std::size_t at = 1;
  while (at < words.size() && words[at].starts_with('-')) {
    const bool takes_next = std::find(with_value.begin(), with_value.end(), words[at]) != with_value.end();
    at += takes_next ? 2U : 1U;
  }
  if (at >= words.size()) {
    return {};
  }
  const std::string_view what = words[at];
  const auto arguments = arguments_of(words, at + 1);
  if (what == "push") {
    return push(arguments);
  }
  if (what == "reset" && arguments.has("--hard")) {
    return "git reset --hard throws uncommitted changes away (git stash keeps them)";
  }
  if (what == "clean") {
    return clean(arguments);
  }
  if (what == "branch") {
    return branch(arguments);
  }
  if (what == "checkout") {
    return checkout(arguments);
  }
  if (what == "switch" && (arguments.has('f') || arguments.has("--force") || arguments.has("--discard-changes"))) {
    return "git switch --force throws uncommitted changes away (git stash keeps them)";
  }
  if (what == "restore") {
    return restore(arguments);
  }
  if (what == "stash") {
    return stash(arguments);
  }
  if (what == "reflog") {
    return reflog(arguments);
  }
  if (what == "update-ref" && arguments.has('d')) {
    return "git update-ref -d deletes branches without a look";
  }
  if (what == "worktree" && !arguments.operands.empty() && arguments.operands.front() == "remove" &&
      (arguments.has('f') || arguments.has("--force"))) {
    return "git worktree remove --force throws uncommitted changes away";
  }
  if (what == "filter-branch" || what == "filter-repo") {
    return "git " + std::string(what) + " rewrites the history of all branches";
  }
  return {};
}

}  // namespace hal::guard
