// Load client for gRPC streams and calls: HTTP/2 by nghttp2, one thread, one epoll loop.
// It counts events, reads the time stamp inside each and prints JSON lines: {"open": N} once
// every first call has had its first message, and the result at the end.
//
// build:  g++ -O2 -std=c++17 -o load load.cc -lnghttp2        (headers: package libnghttp2-dev)
// use:    load PORT PATH REQUESTS [key=value ...]     REQUESTS: a file, one request in hex per line;
//                                                     calls take the lines in turn
//   conns=1   connections          streams=1  calls open at once on each connection
//   rpcs=0    0: one call per slot; N: N calls in all, a slot starts its next call when one ends
//   fresh=0   1: every call has a connection of its own, and its time begins before connect()
//   items=1   a message is a batch: count the entries of this repeated field; 0: a message is one event
//   only=0    an entry is an event when it holds this field (frames that are no events do not count)
//   ts=       field path from entry to a google.protobuf.Timestamp, e.g. 2.4; empty: no latencies
//   gap=      field path from entry to the number of events left out, e.g. 5.3
//   stall=0   1: after its first message a connection is never read again
//   window=1048576  bytes of HTTP/2 window per stream   hold=0  keep streams open for N seconds   max=60  give up after
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

using std::string;
using std::vector;
typedef unsigned long long u64;
typedef const unsigned char* Bytes;

static std::map<string, string> options = {{"conns", "1"}, {"streams", "1"}, {"rpcs", "0"}, {"fresh", "0"},
                                           {"items", "1"}, {"only", "0"},    {"ts", ""},    {"gap", ""},
                                           {"stall", "0"}, {"hold", "0"},    {"max", "60"}, {"window", "1048576"}};
static std::map<string, u64> codes;  // grpc-status or :status of failed calls
static string authority, path;
static vector<string> requests;
static vector<u64> stamp_path, gap_path;
static u64 items, only, slots, calls_wanted, calls_started = 0, calls_done = 0, calls_failed = 0, calls_open = 0;
static u64 events = 0, messages = 0, bytes_read = 0, dropped = 0, first_event = 0, last_event = 0, begin, opened = 0;
static vector<unsigned> latency, to_first, call_time;  // microseconds
static int poll_fd, port, streams, window, conns_left;
static bool fresh, stall;
static nghttp2_session_callbacks* callbacks;

static u64 now() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static unsigned micros(u64 from, u64 to) {
  return to > from ? (unsigned)std::min<u64>((to - from) / 1000, 4000000000ull) : 0;
}

// ---- protobuf, just enough to walk a batch and to find one number in an entry
struct Field {
  u64 number = 0, value = 0, size = 0;
  Bytes data = nullptr;
  int wire = 0;
};
static bool varint(Bytes& p, Bytes end, u64& v) {
  v = 0;
  for (int shift = 0; p < end && shift < 64; shift += 7) {
    unsigned char c = *p++;
    v |= (u64)(c & 127) << shift;
    if (!(c & 128)) return true;
  }
  return false;
}
static bool next_field(Bytes& p, Bytes end, Field& f) {
  u64 key;
  if (p >= end || !varint(p, end, key)) return false;
  f.number = key >> 3;
  f.wire = key & 7;
  if (f.wire == 0) return varint(p, end, f.value);
  if (f.wire == 2) {
    if (!varint(p, end, f.size) || f.size > (u64)(end - p)) return false;
    f.data = p;
    p += f.size;
    return true;
  }
  u64 n = f.wire == 1 ? 8 : 4;
  if ((u64)(end - p) < n) return false;
  p += n;
  return true;
}
static bool holds(Bytes p, Bytes end, u64 number) {
  Field f;
  while (next_field(p, end, f))
    if (f.number == number) return true;
  return false;
}
// The number at a field path; a message at its end is read as a google.protobuf.Timestamp.
static u64 number_at(Bytes p, Bytes end, const vector<u64>& path, size_t depth = 0) {
  Field f;
  if (depth == path.size()) {
    u64 ns = 0;
    while (next_field(p, end, f)) ns += f.number == 1 ? f.value * 1000000000ull : f.number == 2 ? f.value : 0;
    return ns;
  }
  while (next_field(p, end, f))
    if (f.number == path[depth]) return f.wire == 2 ? number_at(f.data, f.data + f.size, path, depth + 1) : f.value;
  return 0;
}

// ---- calls
struct Call {
  u64 start = 0;
  bool answered = false, counted = false, failed = false;
  string in;
  const string* out = nullptr;
  size_t sent = 0;
};
struct Conn {
  int fd = -1;
  nghttp2_session* h2 = nullptr;
  string out;
  size_t off = 0;
  u64 start = 0;
  bool want_write = false, dead = false, renew = false, answered = false;
};

static void first_message(Call* c, Conn* conn) {
  c->answered = conn->answered = true;
  if (++calls_open != slots) return;
  opened = now();
  printf("{\"open\": %llu, \"open_s\": %.4f}\n", calls_open, (opened - begin) / 1e9);
  fflush(stdout);
}
static void count_event(Call* c, Bytes p, Bytes end, u64 t) {
  if (!c->counted) {
    c->counted = true;
    to_first.push_back(micros(c->start, t));
  }
  if (!first_event) first_event = t;
  last_event = t;
  events++;
  if (stamp_path.empty()) return;
  u64 sent = number_at(p, end, stamp_path);
  if (sent) latency.push_back(micros(sent, t));
}
static void count_message(Call* c, Bytes p, size_t n) {
  u64 t = now();
  messages++;
  if (!items) return count_event(c, p, p + n, t);
  Field f;
  for (Bytes end = p + n; next_field(p, end, f);) {
    if (f.number != items || f.wire != 2) continue;
    if (!only || holds(f.data, f.data + f.size, only))
      count_event(c, f.data, f.data + f.size, t);
    else if (!gap_path.empty())
      dropped += number_at(f.data, f.data + f.size, gap_path);
  }
}
static void end_call(Call* c) {
  calls_done++;
  if (c->failed)
    calls_failed++;
  else
    call_time.push_back(micros(c->start, now()));
  delete c;
}

static ssize_t send_body(nghttp2_session*, int32_t, uint8_t* buf, size_t len, uint32_t* flags,
                         nghttp2_data_source* source, void*) {
  Call* c = (Call*)source->ptr;
  size_t n = std::min(len, c->out->size() - c->sent);
  memcpy(buf, c->out->data() + c->sent, n);
  c->sent += n;
  if (c->sent == c->out->size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return n;
}
static void start_call(Conn* conn) {
  static const string post = "POST", http = "http", type = "application/grpc", trailers = "trailers";
  auto h = [](const char* k, const string& v) {
    return nghttp2_nv{(uint8_t*)k, (uint8_t*)v.data(), strlen(k), v.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME};
  };
  nghttp2_nv headers[] = {h(":method", post),         h(":scheme", http),      h(":path", path),
                          h(":authority", authority), h("content-type", type), h("te", trailers)};
  Call* c = new Call;
  c->start = fresh ? conn->start : now();
  c->out = &requests[calls_started++ % requests.size()];
  nghttp2_data_provider body;
  body.source.ptr = c;
  body.read_callback = send_body;
  if (nghttp2_submit_request(conn->h2, nullptr, headers, 6, &body, c) < 0) {
    c->failed = true;
    end_call(c);
  }
}
static int on_data(nghttp2_session* s, uint8_t, int32_t id, const uint8_t* d, size_t len, void* conn) {
  Call* c = (Call*)nghttp2_session_get_stream_user_data(s, id);
  if (!c) return 0;
  if (!c->answered) first_message(c, (Conn*)conn);
  Bytes p = d, end = d + len;
  if (!c->in.empty()) {
    c->in.append((const char*)d, len);
    p = (Bytes)c->in.data();
    end = p + c->in.size();
  }
  while (end - p >= 5) {
    size_t n = ((size_t)p[1] << 24) | (p[2] << 16) | (p[3] << 8) | p[4];
    if ((size_t)(end - p) < 5 + n) break;
    count_message(c, p + 5, n);
    p += 5 + n;
  }
  string rest((const char*)p, end - p);
  c->in.swap(rest);
  return 0;
}
static int on_header(nghttp2_session* s, const nghttp2_frame* f, const uint8_t* k, size_t kn, const uint8_t* v,
                     size_t vn, uint8_t, void*) {
  Call* c = (Call*)nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
  string key((const char*)k, kn), value((const char*)v, vn);
  if (c && ((key == "grpc-status" && value != "0") || (key == ":status" && value != "200"))) {
    c->failed = true;
    codes[value]++;
  }
  if (key == "grpc-message" && !value.empty() && calls_failed < 3) fprintf(stderr, "%s\n", value.c_str());
  return 0;
}
static int on_close(nghttp2_session* s, int32_t id, uint32_t error, void* user) {
  Call* c = (Call*)nghttp2_session_get_stream_user_data(s, id);
  Conn* conn = (Conn*)user;
  if (!c) return 0;
  if (error && !c->failed) codes["h2-" + std::to_string(error)]++;
  c->failed = c->failed || error;
  end_call(c);
  if (calls_started >= calls_wanted) return 0;
  if (fresh)
    conn->renew = true;
  else
    start_call(conn);
  return 0;
}

// ---- connections
static void flush(Conn* c) {
  for (;;) {
    if (c->off == c->out.size()) {
      c->out.clear();
      c->off = 0;
      const uint8_t* d;
      ssize_t n;
      while (c->out.size() < 65536 && (n = nghttp2_session_mem_send(c->h2, &d)) > 0) c->out.append((const char*)d, n);
      if (c->out.empty()) break;
    }
    ssize_t w = write(c->fd, c->out.data() + c->off, c->out.size() - c->off);
    if (w < 0) {
      if (errno == EAGAIN) break;
      c->dead = true;
      return;
    }
    c->off += w;
  }
  bool want = c->off < c->out.size();
  if (want == c->want_write) return;
  c->want_write = want;
  epoll_event e{};
  e.events = EPOLLIN | (want ? EPOLLOUT : 0);
  e.data.ptr = c;
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
}
static void open_conn(Conn* c) {
  *c = Conn();
  c->start = now();
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
  if (stall) {  // a small socket buffer, so that the server feels it soon
    int size = 4096;
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  for (int tries = 0; connect(c->fd, (sockaddr*)&a, sizeof a) < 0; usleep(50000))
    if (++tries > 50) {
      perror("connect");
      exit(1);
    }
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  nghttp2_session_client_new(&c->h2, callbacks, c);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)window},
                                       {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  nghttp2_submit_settings(c->h2, 0, settings, 2);
  nghttp2_session_set_local_window_size(c->h2, 0, 0, 1 << 24);
  for (int i = 0; i < streams && calls_started < calls_wanted; i++) start_call(c);
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = c;
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e);
  flush(c);
}
static void on_readable(Conn* c) {
  static char buf[1 << 18];
  if (stall && c->answered) {
    epoll_ctl(poll_fd, EPOLL_CTL_DEL, c->fd, 0);
    return;
  }
  ssize_t n = read(c->fd, buf, stall ? 1024 : sizeof buf);
  if (n < 0 && errno == EAGAIN) return;
  bytes_read += n > 0 ? n : 0;
  if (n > 0 && nghttp2_session_mem_recv(c->h2, (uint8_t*)buf, n) >= 0) return;
  c->dead = true;  // closed by the server, or nonsense: its open calls have failed
  epoll_ctl(poll_fd, EPOLL_CTL_DEL, c->fd, 0);
  codes["closed"]++;
  conns_left--;
  nghttp2_session_del(c->h2);
  c->h2 = nullptr;
  close(c->fd);
}
static void renew(Conn* c) {
  nghttp2_session_del(c->h2);
  close(c->fd);
  open_conn(c);
}

static void print_quantiles(const char* name, vector<unsigned>& v, const char* end) {
  std::sort(v.begin(), v.end());
  auto q = [&](double x) { return v.empty() ? 0 : v[std::min(v.size() - 1, (size_t)(x * v.size()))]; };
  printf("\"%s\": {\"n\": %zu, \"p50\": %u, \"p99\": %u, \"max\": %u}%s", name, v.size(), q(.5), q(.99), q(1), end);
}
static string unhex(const string& hex) {
  string message;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) message += (char)strtol(hex.substr(i, 2).c_str(), nullptr, 16);
  unsigned n = htonl(message.size());
  return string(1, 0) + string((char*)&n, 4) + message;
}
static vector<u64> field_path(const string& text) {
  vector<u64> out;
  for (char* p = (char*)text.c_str(); *p; p += *p == '.') out.push_back(strtoull(p, &p, 10));
  return out;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: load PORT PATH REQUESTS [key=value ...]\n");
    return 2;
  }
  port = atoi(argv[1]);
  path = argv[2];
  authority = "127.0.0.1:" + string(argv[1]);
  std::ifstream file(argv[3]);
  for (string line; std::getline(file, line);) requests.push_back(unhex(line));
  if (requests.empty()) requests.push_back(unhex(""));
  for (int i = 4; i < argc; i++) {
    string a = argv[i];
    size_t eq = a.find('=');
    if (eq == string::npos || !options.count(a.substr(0, eq))) {
      fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    }
    options[a.substr(0, eq)] = a.substr(eq + 1);
  }
  auto number = [](const char* k) { return strtoull(options[k].c_str(), nullptr, 10); };
  u64 conns = number("conns");
  streams = number("streams");
  slots = conns * streams;
  items = number("items");
  only = number("only");
  fresh = number("fresh");
  stall = number("stall");
  window = number("window");
  calls_wanted = number("rpcs") ? number("rpcs") : slots;
  slots = std::min(slots, calls_wanted);
  stamp_path = field_path(options["ts"]);
  gap_path = field_path(options["gap"]);
  double hold = atof(options["hold"].c_str()), limit = hold ? hold : atof(options["max"].c_str());

  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  poll_fd = epoll_create1(0);
  conns_left = conns;
  begin = now();
  vector<Conn> all(conns);
  for (Conn& c : all) open_conn(&c);
  vector<epoll_event> ready(512);
  while ((now() - begin) / 1e9 < limit && (hold || calls_done < calls_wanted) && conns_left) {
    int n = epoll_wait(poll_fd, ready.data(), ready.size(), 100);
    for (int i = 0; i < n; i++) {
      Conn* c = (Conn*)ready[i].data.ptr;
      if (!c->dead && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
      if (c->renew) renew(c);
      if (!c->dead) flush(c);
    }
  }
  double total = (now() - begin) / 1e9, span = (last_event - first_event) / 1e9;
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  double cpu = use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
  printf("{\"events\": %llu, \"messages\": %llu, \"dropped\": %llu, \"bytes\": %llu, ", events, messages, dropped,
         bytes_read);
  printf("\"calls\": %llu, \"failed\": %llu, \"unanswered\": %llu, \"codes\": {", calls_done, calls_failed,
         calls_open < slots ? slots - calls_open : 0);
  const char* comma = "";
  for (auto& [code, count] : codes) printf("%s\"%s\": %llu", comma, code.c_str(), count), comma = ", ";
  printf("}, \"wall_s\": %.4f, \"span_s\": %.6f, \"client_cpu_s\": %.3f, ", total, span, cpu);
  print_quantiles("latency_us", latency, ", ");
  print_quantiles("first_us", to_first, ", ");
  print_quantiles("call_us", call_time, "}\n");
}
