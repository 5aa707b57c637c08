#include "base/text.hpp"
#include "json/json.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::json {

namespace {

using nlohmann::json;

/** Builds the document from SAX events and stops at the first limit; no recursion. */
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(const Limits& limits) : limits_(limits) {}

  bool null() override { return add(json()); }
  bool boolean(bool value) override { return add(json(value)); }
  bool number_integer(number_integer_t value) override { return add(json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return add(json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return add(json(value)); }
  bool string(string_t& value) override { return add(json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    auto [place, fresh] = open_.back()->get_ref<json::object_t&>().emplace(std::move(value), json());
    if (!fresh) {
      return refuse(
          {Errc::protocol, fmt::format("key \"{}\" stands twice in one object", text::printable(place->first))});
    }
    slot_ = &place->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    std::string_view what = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
    if (const auto end = what.find("] "); end != std::string_view::npos) {
      what.remove_prefix(end + 2);
    }
    return refuse({Errc::protocol, text::printable(what)});
  }

  [[nodiscard]] Result<json> take() && {
    if (error_) {
      return std::move(*error_);
    }
    return std::move(root_);
  }

 private:
  bool refuse(Error error) {
    error_ = std::move(error);
    return false;
  }

  /** Where the next value goes: the document itself, the current key's place, or the end of the current array. */
  json* place(json value) {
    if (++values_ > limits_.values) {
      refuse({Errc::limit, fmt::format("more than {} values", limits_.values)});
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (json* slot = std::exchange(slot_, nullptr); slot != nullptr) {
      *slot = std::move(value);
      return slot;
    }
    auto& array = open_.back()->get_ref<json::array_t&>();
    array.push_back(std::move(value));
    return &array.back();
  }

  bool add(json value) { return place(std::move(value)) != nullptr; }

  bool open(json value) {
    if (open_.size() >= limits_.depth) {
      return refuse({Errc::limit, fmt::format("nested deeper than {} levels", limits_.depth)});
    }
    json* opened = place(std::move(value));
    if (opened != nullptr) {
      open_.push_back(opened);
    }
    return opened != nullptr;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const Limits& limits_;
  json root_;
  /** The arrays and objects being filled. Only the innermost one grows, so the pointers hold. */
  std::vector<json*> open_;
  json* slot_ = nullptr;
  std::size_t values_ = 0;
  std::optional<Error> error_;
};

bool deeper_than(const json& value, std::size_t depth) {
  if (!value.is_structured()) {
    return false;
  }
  if (depth == 0) {
    return true;
  }
  for (const auto& member : value) {
    if (deeper_than(member, depth - 1)) {
      return true;
    }
  }
  return false;
}

json pruned(const json& value, std::size_t depth) {
  if (!value.is_structured()) {
    return value;
  }
  if (depth == 0) {
    return {};
  }
  json copy = value.is_object() ? json::object() : json::array();
  for (auto member = value.begin(); member != value.end(); ++member) {
    if (value.is_object()) {
      copy[member.key()] = pruned(*member, depth - 1);
    } else {
      copy.push_back(pruned(*member, depth - 1));
    }
  }
  return copy;
}

std::string dump_with(const json& value, int indent) {
  if (deeper_than(value, limits::json_depth)) {
    return pruned(value, limits::json_depth).dump(indent, ' ', false, json::error_handler_t::replace);
  }
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Result<nlohmann::json> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) {
    return Error{Errc::limit, fmt::format("{} bytes of JSON, more than {}", text.size(), limits.bytes)};
  }
  Builder builder(limits);
  (void)json::sax_parse(text, &builder);
  return std::move(builder).take();
}

std::string dump(const nlohmann::json& value) {
  return dump_with(value, -1);
}

std::string dump_pretty(const nlohmann::json& value) {
  return dump_with(value, 2);
}

}  // namespace hal::json
