#include "hub/member_names.hpp"

#include "jsonrpc/envelope.hpp"
#include "jsonrpc/places.hpp"

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Raw values at the pointer, in their order; a key that stands twice gives both. */
std::vector<std::string_view> all_at(std::string_view json, std::string_view pointer) {
  std::vector<std::string_view> found;
  (void)jsonrpc::any_at(json, pointer, [&found](std::string_view raw) {
    found.push_back(raw);
    return false;
  });
  return found;
}

bool is_string(std::string_view raw) {
  return raw.size() >= 2 && raw.front() == '"';
}

}  // namespace

std::string_view server_of(std::string_view name, const IsServer& is_server) {
  for (auto at = name.rfind(member_separator); at != std::string_view::npos && at > 0;
       at = name.rfind(member_separator, at - 1)) {
    if (is_server(name.substr(0, at))) {
      return name.substr(0, at);
    }
  }
  return {};
}

std::optional<MemberName> split_name(std::string_view raw, const IsServer& is_server) {
  if (!is_string(raw)) {
    return std::nullopt;
  }
  const bool is_plain = raw.find('\\') == std::string_view::npos;
  const auto name = is_plain ? std::string(raw.substr(1, raw.size() - 2)) : jsonrpc::unescape(raw);
  const auto server = server_of(name, is_server);
  if (server.empty()) {
    return std::nullopt;
  }
  const auto rest = std::string_view(name).substr(server.size() + member_separator.size());
  return MemberName{std::string(server), is_plain ? fmt::format("\"{}\"", rest) : jsonrpc::quote(rest)};
}

std::string with_server(std::string_view text, const std::vector<std::string_view>& strings, std::string_view server) {
  std::string out;
  out.reserve(text.size() + strings.size() * (server.size() + member_separator.size()));
  const char* at = text.data();
  for (const auto raw : strings) {
    if (is_string(raw)) {
      const char* inside = raw.data() + 1;
      out.append(at, inside).append(server).append(member_separator);
      at = inside;
    }
  }
  return out.append(at, text.data() + text.size());
}

std::string with_server_at(std::string_view object, std::string_view pointer, std::string_view server) {
  return with_server(object, all_at(object, pointer), server);
}

MemberPage read_member_page(std::string_view result, std::string_view key, std::string_view id, bool prefixed,
                            std::string_view server, const IsServer& is_server) {
  MemberPage page;
  const auto id_pointer = fmt::format("/{}", id);
  const auto take = [&](std::string_view element) {
    const auto names = all_at(element, id_pointer);
    if (names.empty() || !is_string(names.front())) {
      return false;  // nothing that could be asked for
    }
    if (prefixed) {
      const auto whole = fmt::format("{}{}{}", server, member_separator, jsonrpc::unescape(names.front()));
      if (server_of(whole, is_server) != server) {
        return false;
      }
    }
    page.elements += page.elements.empty() ? "" : ",";
    page.elements += prefixed ? with_server(element, names, server) : std::string(element);
    page.names.emplace_back(names.front());
    return false;
  };
  for (const auto array : all_at(result, fmt::format("/{}", key))) {
    (void)jsonrpc::any_element(array, take);
  }
  if (const auto cursors = all_at(result, "/nextCursor"); !cursors.empty() && is_string(cursors.front())) {
    page.next = cursors.front();
  }
  return page;
}

}  // namespace hal::hub
