#include "worker/naming.hpp"

#include "base/error.hpp"
#include "base/limits.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace hal::worker {

namespace {

constexpr std::size_t digest_digits = 8;

}  // namespace

std::string short_digest(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw_errno("SHA-256", ENOSYS);
  }
  std::string hex;
  for (std::size_t i = 0; i < digest_digits / 2; ++i) {
    hex += fmt::format("{:02x}", bytes[i]);
  }
  return hex;
}

std::string default_name(std::string_view real_path) {
  const auto slash = real_path.find_last_of('/');
  std::string base;
  for (const char c : real_path.substr(slash == std::string_view::npos ? 0 : slash + 1)) {
    const bool fits = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-';
    base += fits ? c : '-';
  }
  while (!base.empty() && std::isalnum(static_cast<unsigned char>(base.front())) == 0) {
    base.erase(0, 1);
  }
  base.resize(std::min(base.size(), limits::name_bytes - digest_digits - 1));
  return fmt::format("{}-{}", base.empty() ? "root" : base, short_digest(real_path));
}

}  // namespace hal::worker
