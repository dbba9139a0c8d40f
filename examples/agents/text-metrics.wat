;; Counts the bytes, words and lines of the job's text: {"text": "..."}.
;; An agent of the runtime as a WebAssembly module: no import but what "jos" gives, no state between jobs.
(module
  (import "jos" "get" (func $get (param i32 i32) (result i32)))
  (import "jos" "take" (func $take (param i32 i32) (result i32)))
  (import "jos" "fail" (func $fail (param i32 i32)))
  (import "jos" "propose" (func $propose (param i32 i32 i32 i32)))
  (memory (export "memory") 20)
  (data (i32.const 0) "/input/text")
  (data (i32.const 16) "advance")
  (data (i32.const 32) "expected {\"text\": \"...\"} of 1 MiB at most")
  (data (i32.const 128) "{\"events\":[\"start\",\"complete\"],\"note\":{\"bytes\":")
  (data (i32.const 192) ",\"words\":")
  (data (i32.const 208) ",\"lines\":")
  (data (i32.const 224) "}}")
  (global $end (mut i32) (i32.const 1024))

  ;; Puts the text at $at into the answer, which begins at 1024.
  (func $put (param $at i32) (param $n i32)
    (memory.copy (global.get $end) (local.get $at) (local.get $n))
    (global.set $end (i32.add (global.get $end) (local.get $n))))

  ;; Puts a number there.
  (func $number (param $n i32)
    (local $tens i32)
    (local.set $tens (i32.div_u (local.get $n) (i32.const 10)))
    (if (local.get $tens) (then (call $number (local.get $tens))))
    (i32.store8 (global.get $end)
      (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  (func (export "decide") (result i32)
    (local $n i32) (local $i i32) (local $byte i32) (local $inside i32) (local $words i32) (local $lines i32)
    (local.set $n (call $get (i32.const 0) (i32.const 11)))
    (if (i32.or (i32.lt_s (local.get $n) (i32.const 0)) (i32.gt_s (local.get $n) (i32.const 1048576)))
      (then (call $fail (i32.const 32) (i32.const 41)) (return (i32.const 1))))
    ;; The text stands at 65536.
    (drop (call $take (i32.const 65536) (local.get $n)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $byte (i32.load8_u (i32.add (i32.const 65536) (local.get $i))))
        (if (i32.eq (local.get $byte) (i32.const 10))
          (then (local.set $lines (i32.add (local.get $lines) (i32.const 1)))))
        (if (i32.le_u (local.get $byte) (i32.const 32))
          (then (local.set $inside (i32.const 0)))
          (else
            (if (i32.eqz (local.get $inside))
              (then (local.set $words (i32.add (local.get $words) (i32.const 1)))))
            (local.set $inside (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    ;; A last line without an end counts as well.
    (if (local.get $n)
      (then (if (i32.ne (local.get $byte) (i32.const 10))
        (then (local.set $lines (i32.add (local.get $lines) (i32.const 1)))))))
    (call $put (i32.const 128) (i32.const 47))
    (call $number (local.get $n))
    (call $put (i32.const 192) (i32.const 9))
    (call $number (local.get $words))
    (call $put (i32.const 208) (i32.const 9))
    (call $number (local.get $lines))
    (call $put (i32.const 224) (i32.const 2))
    (call $propose (i32.const 16) (i32.const 7) (i32.const 1024)
      (i32.sub (global.get $end) (i32.const 1024)))
    (i32.const 0)))
