#include "curl/url.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <new>

#include <fmt/format.h>

namespace hal::curl {

namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using Handle = std::unique_ptr<CURLU, UrlDeleter>;

Handle make_handle() {
  Handle handle(curl_url());
  if (!handle) {
    throw std::bad_alloc();
  }
  return handle;
}

/** Empty where the URL has no such part. */
std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) {
    return {};
  }
  const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
  return text;
}

Result<void> set(CURLU* url, std::string_view text) {
  const bool plain = std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c != 0x7f; });
  if (!plain) {
    return Error{Errc::invalid_argument, "a URL has no blanks or control characters"};
  }
  if (const auto code = curl_url_set(url, CURLUPART_URL, std::string(text).c_str(), 0); code != CURLUE_OK) {
    return Error{Errc::invalid_argument, fmt::format("is no URL: {}", curl_url_strerror(code))};
  }
  return {};
}

Result<Url> taken_apart(CURLU* url) {
  const auto scheme = part(url, CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") {
    return Error{Errc::invalid_argument, "is no http or https URL"};
  }
  if (!part(url, CURLUPART_USER).empty() || !part(url, CURLUPART_PASSWORD).empty()) {
    return Error{Errc::invalid_argument, "has a user or password in it; headers are for that"};
  }
  (void)curl_url_set(url, CURLUPART_FRAGMENT, nullptr, 0);
  auto host = part(url, CURLUPART_HOST);
  std::ranges::transform(host, host.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  host += ':' + part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  return Url{part(url, CURLUPART_URL), scheme + "://" + host, host};
}

}  // namespace

Result<Url> read_url(std::string_view text) {
  const auto handle = make_handle();
  if (auto done = set(handle.get(), text); !done) {
    return done.error();
  }
  return taken_apart(handle.get());
}

Result<Url> resolve(const Url& base, std::string_view reference) {
  const auto handle = make_handle();
  if (auto done = set(handle.get(), base.text); !done) {
    return done.error();
  }
  if (auto done = set(handle.get(), reference); !done) {
    return done.error();
  }
  return taken_apart(handle.get());
}

}  // namespace hal::curl
