#include "jsonrpc/places.hpp"

#include "jsonrpc/envelope.hpp"
#include "jsonrpc/scanner.hpp"

#include <algorithm>
#include <charconv>
#include <vector>

namespace hal::jsonrpc {

namespace {

/** Calls `on_element` for each until it says stop; false where the text is no array. */
template <class OnElement>
bool each_element(std::string_view text, OnElement on_element) {
  Scanner in(text);
  if (!in.take('[')) {
    return false;
  }
  in.skip_blanks();
  if (in.next_is(']')) {
    return true;
  }
  do {
    std::string_view raw;
    if (!in.take_value(raw)) {
      return false;
    }
    if (on_element(raw)) {
      return true;
    }
  } while (in.take(','));
  return true;
}

/** Calls `on_member` for each value with this key. */
template <class OnMember>
void each_member(std::string_view text, std::string_view name, OnMember on_member) {
  Scanner in(text);
  (void)in.take_object([&](std::string_view key) {
    std::string_view raw;
    if (!in.take_value(raw)) {
      return false;
    }
    if (key == name) {
      on_member(raw);
    }
    return true;
  });
}

/** The first key of a pointer without its escapes; `rest` is what follows. */
std::string first_key(std::string_view pointer, std::string_view& rest) {
  const auto end = std::min(pointer.find('/', 1), pointer.size());
  rest = pointer.substr(end);
  std::string key;
  for (std::size_t i = 1; i < end; ++i) {
    if (pointer[i] == '~' && i + 1 < end) {
      key += pointer[++i] == '1' ? '/' : '~';
    } else {
      key += pointer[i];
    }
  }
  return key;
}

/** RFC 6901: without leading zeros. */
std::optional<std::size_t> as_index(std::string_view key) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  const bool whole = error == std::errc() && end == key.data() + key.size();
  return whole && (key.size() == 1 || key.front() != '0') ? std::optional(index) : std::nullopt;
}

/** The elements to be dropped with the comma that parts each from its neighbours, as views into the array. */
std::vector<std::string_view> dropped_pieces(std::string_view array,
                                             const std::function<bool(std::string_view)>& drop) {
  std::vector<std::string_view> pieces;
  const char* piece = nullptr;     // where a run of dropped elements begins
  const char* kept_end = nullptr;  // of the last element that stays
  const char* end = nullptr;
  (void)each_element(array, [&](std::string_view raw) {
    bool dropped = false;
    each_member(raw, "name", [&](std::string_view name) { dropped = dropped || drop(unescape(name)); });
    if (dropped && piece == nullptr) {
      piece = kept_end != nullptr ? kept_end : raw.data();
    } else if (!dropped) {
      if (piece != nullptr) {  // with the comma behind it where nothing is kept before it
        const char* stop = kept_end != nullptr ? end : raw.data();
        pieces.emplace_back(piece, static_cast<std::size_t>(stop - piece));
        piece = nullptr;
      }
      kept_end = raw.data() + raw.size();
    }
    end = raw.data() + raw.size();
    return false;
  });
  if (piece != nullptr) {
    pieces.emplace_back(piece, static_cast<std::size_t>(end - piece));
  }
  return pieces;
}

}  // namespace

bool any_at(std::string_view json, std::string_view pointer, const Matches& matches) {
  if (pointer.empty()) {
    return matches(json);
  }
  std::string_view rest;
  const auto key = first_key(pointer, rest);
  bool found = false;
  if (json.starts_with('{')) {
    each_member(json, key, [&](std::string_view raw) { found = found || any_at(raw, rest, matches); });
  } else if (const auto index = as_index(key); index && json.starts_with('[')) {
    std::size_t at = 0;
    (void)each_element(json, [&](std::string_view raw) {
      found = at == *index && any_at(raw, rest, matches);
      return at++ == *index;
    });
  }
  return found;
}

std::string_view member(std::string_view object, std::string_view key) {
  std::string_view found;
  each_member(object, key, [&found](std::string_view raw) { found = raw; });
  return found;
}

void each_member_of(std::string_view object,
                    const std::function<void(std::string_view key, std::string_view raw)>& on) {
  Scanner in(object);
  (void)in.take_object([&](std::string_view key) {
    std::string_view raw;
    if (!in.take_value(raw)) {
      return false;
    }
    on(key, raw);
    return true;
  });
}

std::string with_member(std::string_view object, std::string_view key, std::string_view raw) {
  const auto rest = object.substr(std::min(object.find_first_not_of(" \t\r\n", 1), object.size()));
  const bool is_empty = rest.empty() || rest.front() == '}';
  std::string out;
  out.reserve(object.size() + key.size() + raw.size() + 8);
  out += "{";
  out += quote(key);
  out += ":";
  out += raw;
  out += is_empty ? "}" : ",";
  out += is_empty ? "" : rest;
  return out;
}

std::string without_members(std::string_view object, std::initializer_list<std::string_view> keys) {
  std::string out = "{";
  each_member_of(object, [&](std::string_view key, std::string_view raw) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      return;
    }
    out += out.size() > 1 ? "," : "";
    out += quote(key);
    out += ":";
    out += raw;
  });
  return out + "}";
}

bool any_element(std::string_view array, const Matches& matches) {
  bool found = false;
  (void)each_element(array, [&](std::string_view raw) { return found = matches(raw); });
  return found;
}

std::optional<std::string> without_named(std::string_view object, std::string_view key,
                                         const std::function<bool(std::string_view name)>& drop) {
  std::vector<std::string_view> pieces;
  each_member(object, key, [&](std::string_view array) {
    const auto more = dropped_pieces(array, drop);
    pieces.insert(pieces.end(), more.begin(), more.end());
  });
  if (pieces.empty()) {
    return std::nullopt;
  }
  std::string out;
  const char* at = object.data();
  for (const auto piece : pieces) {
    out.append(at, piece.data());
    at = piece.data() + piece.size();
  }
  out.append(at, object.data() + object.size());
  return out;
}

}  // namespace hal::jsonrpc
