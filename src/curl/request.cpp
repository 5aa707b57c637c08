#include "curl/request.hpp"

#include "base/text.hpp"
#include "curl/request_state.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

namespace hal::curl {

namespace {

/** Of a streamed body, waiting for the receiver, before libcurl is told to read no more. */
constexpr std::size_t stream_buffer_bytes = std::size_t{64} << 10;

/** Many servers close a connection that was idle for 5 s; a request that crosses the end must not be lost. */
constexpr long max_idle_seconds = 4;

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (const CURLcode code = curl_easy_setopt(easy, option, value); code != CURLE_OK) {
    throw std::runtime_error(fmt::format("curl option {}: {}", static_cast<int>(option), curl_easy_strerror(code)));
  }
}

Errc errc_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
      return Errc::unavailable;
    case CURLE_OPERATION_TIMEDOUT:
      return Errc::timed_out;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return Errc::disconnected;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
      return Errc::protocol;
    default:
      return Errc::internal;
  }
}

std::string_view without_line_end(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) {
    line.remove_suffix(1);
  }
  return line;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(c < 0x80 ? std::tolower(c) : c); });
  return result;
}

}  // namespace

const std::string* Response::header(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &std::pair<std::string, std::string>::first);
  return found != headers.end() ? &found->second : nullptr;
}

Request::State::State(Multi::State& multi, RequestSpec spec, Callbacks callbacks)
    : multi_(multi),
      spec_(std::move(spec)),
      callbacks_(std::move(callbacks)),
      easy_(curl_easy_init()),
      deadline_(multi.loop, "curl:deadline",
                [this] {
                  fail({Errc::timed_out, fmt::format("{}: no answer in time", where())});
                }),
      deliver_(multi.loop, "curl:deliver", [] {}) {
  if (!easy_) {
    throw std::bad_alloc();
  }
  set_up();
}

void Request::State::set_up() {
  CURL* easy = easy_.get();
  set(easy, CURLOPT_PRIVATE, static_cast<void*>(static_cast<Transfer*>(this)));
  set(easy, CURLOPT_ERRORBUFFER, error_text_);
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_URL, spec_.url.c_str());
  if (!spec_.unix_socket.empty()) {
    set(easy, CURLOPT_UNIX_SOCKET_PATH, spec_.unix_socket.c_str());
  }
  if (spec_.socket) {
    set(easy, CURLOPT_OPENSOCKETFUNCTION, &State::on_open_socket);
    set(easy, CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  }
  if (spec_.socket || !spec_.reuse_connection) {
    set(easy, CURLOPT_FRESH_CONNECT, 1L);
    set(easy, CURLOPT_FORBID_REUSE, 1L);
  }
  // Belongs to the connection, which may outlive this request.
  set(easy, CURLOPT_CLOSESOCKETFUNCTION, &Multi::State::on_close_socket);
  set(easy, CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&multi_));
  set(easy, CURLOPT_HEADERFUNCTION, &State::on_header_line);
  set(easy, CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(easy, CURLOPT_WRITEFUNCTION, &State::on_body);
  set(easy, CURLOPT_WRITEDATA, static_cast<void*>(this));
  set_network();
  set_method();
  set_deadlines();
}

void Request::State::set_network() {
  CURL* easy = easy_.get();
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(spec_.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_QUICK_EXIT, 1L);     // else the end of a request waits for the thread that resolves its host
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);  // a stream may be silent for hours: is the peer still there?
  if (spec_.proxy.empty()) {
    set(easy, CURLOPT_NOPROXY, "*");
  } else {
    set(easy, CURLOPT_PROXY, spec_.proxy.c_str());
    set(easy, CURLOPT_NOPROXY, "");
    set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  }
  if (!spec_.ca_file.empty()) {
    set(easy, CURLOPT_CAINFO, spec_.ca_file.c_str());
  }
}

void Request::State::set_method() {
  CURL* easy = easy_.get();
  if (spec_.method == "HEAD") {
    set(easy, CURLOPT_NOBODY, 1L);
  } else if (spec_.method == "POST" || !spec_.body.empty()) {
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(spec_.body.size()));
    if (spec_.repeatable) {
      set(easy, CURLOPT_POSTFIELDS, spec_.body.c_str());
    } else {  // a body that it cannot go back in is not sent a second time
      set(easy, CURLOPT_POST, 1L);
      set(easy, CURLOPT_READFUNCTION, &State::on_send);
      set(easy, CURLOPT_READDATA, static_cast<void*>(this));
      set(easy, CURLOPT_MAXAGE_CONN, max_idle_seconds);
    }
  }
  set(easy, CURLOPT_CUSTOMREQUEST, spec_.method.c_str());
  spec_.headers.emplace_back("Expect:");  // else libcurl asks before it sends a large body, and waits a second
  for (const auto& header : spec_.headers) {
    curl_slist* longer = curl_slist_append(header_list_.get(), header.c_str());
    if (longer == nullptr) {
      throw std::bad_alloc();
    }
    (void)header_list_.release();
    header_list_.reset(longer);
  }
  set(easy, CURLOPT_HTTPHEADER, header_list_.get());
}

void Request::State::set_deadlines() {
  CURL* easy = easy_.get();
  if (spec_.deadlines.connect.count() > 0) {
    set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(spec_.deadlines.connect.count()));
  }
  if (spec_.deadlines.total.count() > 0) {
    set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(spec_.deadlines.total.count()));
  }
}

void Request::State::start(std::weak_ptr<State> self) {
  deliver_ = event::Defer(multi_.loop, "curl:deliver", [self = std::move(self)] {
    if (const auto state = self.lock()) {  // alive until its callbacks have returned
      state->deliver();
    }
  });
  multi_.add(easy_.get());
  in_multi_ = true;
  if (spec_.deadlines.answer.count() > 0) {
    deadline_.arm(spec_.deadlines.answer);
  }
}

void Request::State::detach() noexcept {
  if (in_multi_) {
    in_multi_ = false;
    multi_.remove(easy_.get());
  }
  easy_.reset();
}

void Request::State::abandon() noexcept {
  gone_ = true;
  detach();
  deadline_.disarm();
  deliver_.cancel();
}

void Request::State::resume() {
  if (waiting_) {
    waiting_ = false;
    deliver_.schedule();
  }
}

std::size_t Request::State::on_header_line(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto& state = *static_cast<State*>(self);
  try {
    return state.take_header({data, size * count}) ? size * count : 0;
  } catch (...) {
    state.thrown_ = std::current_exception();
    return 0;
  }
}

std::size_t Request::State::on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto& state = *static_cast<State*>(self);
  try {
    bool pause = false;
    const bool taken = state.take_body({data, size * count}, pause);
    return pause ? CURL_WRITEFUNC_PAUSE : (taken ? size * count : 0);
  } catch (...) {
    state.thrown_ = std::current_exception();
    return 0;
  }
}

std::size_t Request::State::on_send(char* buffer, std::size_t size, std::size_t count, void* self) noexcept {
  auto& state = *static_cast<State*>(self);
  const auto bytes = state.spec_.body.copy(buffer, size * count, state.sent_);
  state.sent_ += bytes;
  return bytes;
}

curl_socket_t Request::State::on_open_socket(void* self, curlsocktype /*purpose*/,
                                             curl_sockaddr* /*address*/) noexcept {
  // The second time there is none left to give: this request connects once.
  auto& state = *static_cast<State*>(self);
  return state.spec_.socket ? state.spec_.socket.release() : CURL_SOCKET_BAD;
}

void Request::State::begin_answer(std::string_view status_line) {
  response_.headers.clear();
  const auto blank = status_line.find(' ');
  const auto code = blank != std::string_view::npos ? status_line.substr(blank + 1, 3) : std::string_view();
  response_.status = text::to_number<int>(code).value_or(0);
}

const std::string& Request::State::where() const {
  if (!spec_.label.empty()) {
    return spec_.label;
  }
  return spec_.unix_socket.empty() ? spec_.url : spec_.unix_socket;
}

void Request::State::forget_body() {
  curl_off_t sent = 0;
  if (easy_ && streams() && curl_easy_getinfo(easy_.get(), CURLINFO_SIZE_UPLOAD_T, &sent) == CURLE_OK &&
      sent == static_cast<curl_off_t>(spec_.body.size())) {
    std::string().swap(spec_.body);
    sent_ = 0;
  }
}

bool Request::State::take_header(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > spec_.max_header_bytes) {
    error_ = Error{Errc::limit, fmt::format("{}: more than {} bytes of header", where(), spec_.max_header_bytes)};
    return false;
  }
  line = without_line_end(line);
  if (header_complete_) {
    return true;  // a trailer
  }
  if (line.empty()) {
    const bool interim = response_.status / 100 == 1 && response_.status != 101;
    header_complete_ = !interim;
    if (header_complete_) {
      deadline_.disarm();
      restart_idle_deadline();
      deliver_.schedule();
    }
  } else if (line.starts_with("HTTP/")) {
    begin_answer(line);
  } else if (const auto colon = line.find(':'); colon != std::string_view::npos) {
    response_.headers.emplace_back(lower(line.substr(0, colon)), text::trim(line.substr(colon + 1)));
  }
  return true;
}

bool Request::State::take_body(std::string_view data, bool& pause) {
  if (!streams()) {
    if (data.size() > spec_.max_body_bytes - std::min(spec_.max_body_bytes, response_.body.size())) {
      error_ = Error{Errc::limit, fmt::format("{}: an answer of more than {} bytes", where(), spec_.max_body_bytes)};
      return false;
    }
    response_.body.append(data);
    restart_idle_deadline();
    return true;
  }
  const auto waiting = buffer_.size() - buffer_done_;
  if (waiting != 0 && waiting + data.size() > stream_buffer_bytes) {
    paused_ = pause = true;  // libcurl keeps `data` and brings it again
    return true;
  }
  buffer_.append(data);
  restart_idle_deadline();
  deliver_.schedule();
  return true;
}

void Request::State::restart_idle_deadline() {
  if (spec_.deadlines.idle.count() > 0 && !waiting_ && !ended_) {
    deadline_.arm(spec_.deadlines.idle);
  }
}

void Request::State::fail(Error error) {
  if (!ended_) {
    ended_ = true;
    error_ = std::move(error);
    detach();
    deliver_.schedule();
  }
}

Error Request::State::transfer_error(CURLcode code) {
  if (error_) {
    return std::move(*error_);
  }
  long os_error = 0;
  (void)curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &os_error);
  if (code == CURLE_COULDNT_CONNECT && os_error != 0) {
    return {errc_of(code), fmt::format("{}: cannot connect: {}", where(), std::strerror(static_cast<int>(os_error)))};
  }
  if (code == CURLE_SEND_FAIL_REWIND) {
    return {errc_of(code), fmt::format("{}: the connection ended before the answer", where())};
  }
  const char* text = error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(code);
  return {errc_of(code), fmt::format("{}: {}", where(), text::printable(text))};
}

void Request::State::on_transfer_end(CURLcode code) {
  if (ended_) {
    return;
  }
  ended_ = true;
  deadline_.disarm();
  if (code != CURLE_OK) {
    error_ = transfer_error(code);
  } else if (!header_complete_) {
    error_ = Error{Errc::protocol, fmt::format("{}: not an HTTP answer", where())};
  }
  detach();
  deliver_.schedule();
}

void Request::State::deliver() {
  if (thrown_) {
    std::rethrow_exception(std::exchange(thrown_, nullptr));  // ends the loop, as any escaping exception does
  }
  if (header_complete_ && !header_announced_) {
    header_announced_ = true;
    forget_body();
    if (callbacks_.on_headers) {
      callbacks_.on_headers(response_);
    }
    if (gone_) {
      return;
    }
  }
  if (!deliver_data()) {
    return;
  }
  if (paused_ && buffer_.empty() && in_multi_) {
    paused_ = false;
    (void)curl_easy_pause(easy_.get(), CURLPAUSE_CONT);  // may call on_body; a failure is reported as the end
    multi_.messages.schedule();
  }
  if (ended_ && buffer_.empty()) {
    complete();
  }
}

bool Request::State::deliver_data() {
  while (!waiting_ && buffer_done_ < buffer_.size()) {
    const auto rest = std::string_view(buffer_).substr(buffer_done_);
    const auto taken = callbacks_.on_data(rest);
    if (gone_) {
      return false;
    }
    buffer_done_ += std::min(taken, rest.size());
    waiting_ = taken < rest.size();
    if (waiting_) {
      deadline_.disarm();
    } else {
      restart_idle_deadline();
    }
  }
  if (buffer_done_ == buffer_.size()) {
    buffer_.clear();
    buffer_done_ = 0;
  }
  return true;
}

void Request::State::complete() {
  deadline_.disarm();
  if (!callbacks_.on_done) {
    return;
  }
  const auto done = std::exchange(callbacks_.on_done, nullptr);
  if (error_) {
    done(std::move(*error_));
  } else {
    response_.request_body = std::move(spec_.body);
    done(std::move(response_));
  }
}

Request::Request(Multi& multi, RequestSpec spec, Callbacks callbacks)
    : state_(std::make_shared<State>(*multi.state_, std::move(spec), std::move(callbacks))) {
  state_->start(state_);
}

Request::~Request() {
  state_->abandon();
}

void Request::resume() {
  state_->resume();
}

std::string escape(std::string_view text) {
  if (text.empty()) {
    return {};  // libcurl would take a length of 0 for "up to the NUL"
  }
  const std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size())), &curl_free);
  if (!escaped) {
    throw std::bad_alloc();
  }
  return escaped.get();
}

}  // namespace hal::curl
